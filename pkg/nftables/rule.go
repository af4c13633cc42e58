// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"reflect"
	"slices"

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
	return rule{text, slices.Concat(parts...)}
}

func iifname() []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}} }

func oifname(register uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register}}
}

// lookup looks up the key that begins in register 1.
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

func nfproto(family byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmpEqual(family)}
}

func cmpEqual(b byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{b}} }

// address loads an address from the header of IPv4 or IPv6.
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
	mask := binary.NativeEndian.AppendUint32(nil, bits)
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
}

// equals reports whether a rule of the kernel is this one.
func (r rule) equals(actual []expr.Any) bool { return reflect.DeepEqual(r.exprs, actual) }

// create appends the rule to a chain.
func (r rule) create(chain string) (request, error) {
	list, err := encodeExprs(r.exprs)
	attrs := slices.Concat(
		attrString(unix.NFTA_RULE_TABLE, tableName), attrString(unix.NFTA_RULE_CHAIN, chain),
		attrNested(unix.NFTA_RULE_EXPRESSIONS, list))
	return request{
		kind: unix.NFT_MSG_NEWRULE, flags: unix.NLM_F_CREATE | unix.NLM_F_APPEND, attrs: attrs,
		object: "rule of chain " + chain + ": " + r.text,
	}, err
}

func encodeExprs(exprs []expr.Any) ([]byte, error) {
	var list []byte
	for _, e := range exprs {
		b, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return nil, err
		}
		list = append(list, attrNested(unix.NFTA_LIST_ELEM, b)...)
	}
	return list, nil
}

// parseRule appends a rule to its chain: the kernel lists the rules of a chain in
// their order.
func (t *table) parseRule(r reply) error {
	var chain string
	var exprs []expr.Any
	err := eachAttr(r.attrs, func(kind int, value []byte) (err error) {
		switch kind {
		case unix.NFTA_RULE_CHAIN:
			chain = parseString(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			exprs, err = parseExprs(value)
		}
		return err
	})
	if c := t.chains[chain]; c != nil {
		c.rules = append(c.rules, exprs)
	}
	return err
}

// parseExprs parses the expressions of a rule. It returns nil if the plugin never
// writes one of them.
func parseExprs(list []byte) ([]expr.Any, error) {
	var exprs []expr.Any
	foreign := false
	err := eachAttr(list, func(_ int, attrs []byte) error {
		e, err := parseExpr(attrs)
		foreign = foreign || e == nil
		exprs = append(exprs, e)
		return err
	})
	if foreign || err != nil {
		return nil, err
	}
	return exprs, nil
}

// parseExpr returns nil for an expression that the plugin never writes.
func parseExpr(attrs []byte) (expr.Any, error) {
	var name string
	var data []byte
	err := eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_EXPR_NAME:
			name = parseString(value)
		case unix.NFTA_EXPR_DATA:
			data = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
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

// parseVerdict returns nil for an immediate that loads a number. The library's
// own parser reads that as a drop, and a truncated verdict as a whole one.
func parseVerdict(data []byte) (e expr.Any, err error) {
	err = eachAttrOf(data, unix.NFTA_IMMEDIATE_DATA, func(value []byte) error {
		return eachAttrOf(value, unix.NFTA_DATA_VERDICT, func(attrs []byte) error {
			v := &expr.Verdict{}
			e = v
			return parseVerdictAttrs(v, attrs)
		})
	})
	return e, err
}

func parseVerdictAttrs(v *expr.Verdict, attrs []byte) error {
	hasCode := false
	err := eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_VERDICT_CODE:
			hasCode = len(value) == 4
			v.Kind = expr.VerdictKind(int32(parseUint32(value)))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = parseString(value)
		}
		return nil
	})
	if err == nil && !hasCode {
		return errMalformed
	}
	return err
}
