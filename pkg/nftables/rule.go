// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"reflect"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is a rule as nft prints it, and as the kernel has it.
type rule struct {
	text  string
	exprs []expr.Any
}

// newRule joins the matches and the verdict of a rule.
func newRule(text string, parts ...[]expr.Any) rule {
	r := rule{text: text}
	for _, p := range parts {
		r.exprs = append(r.exprs, p...)
	}
	return r
}

func iifname() []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}} }

func oifname(register uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register}}
}

// lookup looks up what stands in register 1, and in those after it.
func lookup(set string) []expr.Any { return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set}} }

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// Directions of a connection (IP_CT_DIR_… in nf_conntrack_tuple_common.h).
const (
	directionOriginal = 0
	directionReply    = 1
)

func ctDirection(d byte) []expr.Any {
	return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, cmpEqual(d)}
}

func nfproto(nfproto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmpEqual(nfproto)}
}

func cmpEqual(b byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{b}} }

// address loads one from the header of IPv4 or IPv6.
func address(offset, length uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}}
}

// Bits of nf_conntrack_common.h.
const (
	ipsDstNAT        = 1 << 5
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
)

func ctDNAT() []expr.Any { return ctAnyBit(expr.CtKeySTATUS, ipsDstNAT) }

func ctEstablished() []expr.Any { return ctAnyBit(expr.CtKeySTATE, stateEstablished|stateRelated) }

func ctAnyBit(key expr.CtKey, bits uint32) []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, bits), Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
}

// equals reports whether the kernel has a rule as it must be.
func (r rule) equals(seen []expr.Any) bool { return reflect.DeepEqual(r.exprs, seen) }

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
	return request{kind: unix.NFT_MSG_NEWRULE, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND, attrs: attrs, object: "rule of chain " + chain + ": " + r.text}, nil
}

// parseRule adds a rule to its chain. The kernel lists those of a chain in their
// order.
func (t *table) parseRule(a reply) error {
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
		if err != nil {
			return err
		}
		e, err := parseExpr(name, data)
		foreign = foreign || e == nil
		exprs = append(exprs, e)
		return err
	})
	if foreign || err != nil {
		return nil, err
	}
	return exprs, nil
}

// parseExpr returns nil for what the plugin's rules have not.
func parseExpr(name string, data []byte) (expr.Any, error) {
	if name == "immediate" {
		return parseVerdict(data)
	}
	e := newExpr(name)
	if e == nil {
		return nil, nil
	}
	return e, expr.Unmarshal(unix.NFPROTO_INET, data, e)
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
	}
	return nil
}

// parseVerdict returns nil for what loads a number. It stands in for the
// library's, which takes that for a drop, and what is cut short for whole.
func parseVerdict(data []byte) (e expr.Any, err error) {
	err = eachAttr(data, func(kind int, value []byte) error {
		if kind != unix.NFTA_IMMEDIATE_DATA {
			return nil
		}
		return eachAttr(value, func(kind int, value []byte) error {
			if kind != unix.NFTA_DATA_VERDICT {
				return nil
			}
			v := &expr.Verdict{}
			e = v
			return parseVerdictAttrs(v, value)
		})
	})
	return e, err
}

func parseVerdictAttrs(v *expr.Verdict, attrs []byte) error {
	coded := false
	err := eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_VERDICT_CODE:
			coded = len(value) == 4
			v.Kind = expr.VerdictKind(int32(parseUint32(value)))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = parseString(value)
		}
		return nil
	})
	if err == nil && !coded {
		return errMalformed
	}
	return err
}
