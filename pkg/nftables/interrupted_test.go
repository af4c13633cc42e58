// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestElementsInterrupted has another program change something while the
// elements of a set are listed.
func TestElementsInterrupted(t *testing.T) {
	t.Parallel()
	rs := policy.Desired(crowd(40)...)
	for verb, do := range map[string]func(*Snapshot) error{
		"apply":  func(s *Snapshot) error { return s.Apply(rs, nil) },
		"check":  func(s *Snapshot) error { return s.Check(rs) },
		"remove": func(s *Snapshot) error { return s.Remove(sample()) },
	} {
		k := holding(t, sample())
		apply(t, k, rs)
		s := start(t, k)
		n := 0
		k.interrupt = func(int) bool { n++; return n == 1 }
		if err := do(s); err != nil || n == 0 {
			t.Errorf("%s: %d sets were listed, got error %v", verb, n, err)
		}
	}
}

// TestInUse has the operator's rules refer to what must be deleted, which the
// kernel does not do. That is no haste of other programs'.
func TestInUse(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.other(func(h *host) {
		setDamages(setIPv4)[3].do(h.table())
		h.table().chain("CNI-ADMIN").rules = [][]byte{ruleOf(append(in(setIPv4), &expr.Verdict{Kind: expr.VerdictDrop})...)}
	})
	err := start(t, k).Apply(sample(), nil)
	if err == nil || errors.Is(err, ErrBusy) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("after %d transactions: got error %v", len(k.commits), err)
	}
}
