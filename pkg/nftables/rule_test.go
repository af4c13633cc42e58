// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// immediateRule returns a rule of one immediate expression that loads data.
func immediateRule(data []byte) []byte {
	e := attrNested(unix.NFTA_EXPR_DATA,
		attrUint32(unix.NFTA_IMMEDIATE_DREG, 1), attrNested(unix.NFTA_IMMEDIATE_DATA, data))
	return attrNested(unix.NFTA_LIST_ELEM, attrString(unix.NFTA_EXPR_NAME, "immediate"), e)
}

// TestTruncatedVerdict parses verdicts without a whole code.
func TestTruncatedVerdict(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	for name, code := range map[string][]byte{"no code": nil, "two bytes": attr(unix.NFTA_VERDICT_CODE, []byte{0, 1})} {
		if _, err := parseExprs(immediateRule(attrNested(unix.NFTA_DATA_VERDICT, code))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLoadIsNoVerdict parses an immediate that loads a number into a register.
func TestLoadIsNoVerdict(t *testing.T) {
	t.Parallel()
	exprs, err := parseExprs(immediateRule(attrUint32(unix.NFTA_DATA_VALUE, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if newRule("drop", verdict(expr.VerdictDrop)).equals(exprs) {
		t.Error("taken for a drop")
	}
}
