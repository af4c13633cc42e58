// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"reflect"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// readRule adds a rule to its chain. The kernel lists those of a chain in their
// order.
func (t *table) readRule(a answer) error {
	var name string
	var exprs []expr.Any
	err := eachAttr(a.attrs, func(kind int, value []byte) (err error) {
		switch kind {
		case unix.NFTA_RULE_CHAIN:
			name = parseString(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			exprs, err = parseExprs(value)
		}
		return err
	})
	if c := t.chains[name]; c != nil {
		c.rules = append(c.rules, exprs)
	}
	return err
}

// parseExprs reads the expressions of a rule, or returns nil where there is one
// of a kind that the plugin's rules have not.
func parseExprs(list []byte) ([]expr.Any, error) {
	var exprs []expr.Any
	foreign := false
	err := eachAttr(list, func(_ int, element []byte) error {
		var name string
		var data []byte
		err := eachAttr(element, func(kind int, value []byte) error {
			switch kind {
			case unix.NFTA_EXPR_NAME:
				name = parseString(value)
			case unix.NFTA_EXPR_DATA:
				data = value
			}
			return nil
		})
		e := newExpr(name)
		if err != nil || e == nil {
			foreign = true
			return err
		}
		exprs = append(exprs, e)
		return expr.Unmarshal(unix.NFPROTO_INET, data, e)
	})
	if foreign || err != nil {
		return nil, err
	}
	return exprs, nil
}

func newExpr(name string) expr.Any {
	switch name {
	case "meta":
		return &expr.Meta{}
	case "lookup":
		return &expr.Lookup{}
	case "ct":
		return &expr.Ct{}
	case "cmp":
		return &expr.Cmp{}
	case "bitwise":
		return &expr.Bitwise{}
	case "payload":
		return &expr.Payload{}
	case "immediate":
		return &expr.Verdict{}
	}
	return nil
}

// is reports whether the kernel has a rule as it must be.
func (r rule) is(seen []expr.Any) bool { return reflect.DeepEqual(r.exprs, seen) }

// encode returns the rule as the kernel takes it.
func (r rule) encode(chain string) (request, error) {
	var list []byte
	for _, e := range r.exprs {
		b, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return request{}, err
		}
		list = append(list, attrNested(unix.NFTA_LIST_ELEM, b)...)
	}
	attrs := append(attrString(unix.NFTA_RULE_TABLE, tableName), attrString(unix.NFTA_RULE_CHAIN, chain)...)
	attrs = append(attrs, attrNested(unix.NFTA_RULE_EXPRESSIONS, list)...)
	return request{kind: unix.NFT_MSG_NEWRULE, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND, attrs: attrs}, nil
}
