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

// is compares the name of an interface.
func is(name string) []expr.Any { return cmpName(expr.CmpOpEq, name) }

func isNot(name string) []expr.Any { return cmpName(expr.CmpOpNeq, name) }

func cmpName(op expr.CmpOp, name string) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: op, Register: 1, Data: []byte(interfaceKey(name))}}
}

// lookup looks up the key that begins in register 1.
func lookup(set string) []expr.Any { return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set}} }

func lookupNot(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true}}
}

// count has the element with the key that begins in register 1 count the packet. The kernel
// makes the element if there is none.
func count(set string) []expr.Any {
	return []expr.Any{&expr.Dynset{
		SrcRegKey: 1, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE, Exprs: []expr.Any{&expr.Counter{}},
	}}
}

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
func address(register, offset, length uint32) []expr.Any {
	return []expr.Any{&expr.Payload{
		DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length,
	}}
}

// etherIs matches the protocol that a frame carries, behind the first VLAN tag.
func etherIs(protocol uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, protocol)},
	}
}

// etherTypeIsNot matches what stands in a frame's header: of a tagged frame, the tag.
func etherTypeIsNot(protocol uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, protocol)},
	}
}

// fibMissing matches a packet whose source the host does not route to by the interface
// that it came in by.
func fibMissing() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
	}
}

// fibNotLocal matches a packet whose destination is no address of the host.
func fibNotLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	}
}

// fibInterface loads the interface by which the host routes to the source.
func fibInterface() []expr.Any {
	return []expr.Any{&expr.Fib{Register: 1, ResultOIFNAME: true, FlagSADDR: true}}
}

// ctKeyDestinationIPv4 is NFT_CT_DST_IP, which matches IPv4 only.
const ctKeyDestinationIPv4 = expr.CtKey(20)

func ctOriginalIPv4Destination() []expr.Any {
	return []expr.Any{&expr.Ct{Key: ctKeyDestinationIPv4, Register: 1, Direction: directionOriginal}}
}

// compare compares the first byte.
func compare(b byte) []expr.Any { return []expr.Any{cmpEqual(b)} }

// Bits of nf_conntrack_common.h.
const (
	ipsDstNAT        = 1 << 5
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
	stateNew         = 1 << 3
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
		b, err := encodeExpr(e)
		if err != nil {
			return nil, err
		}
		list = append(list, attrNested(unix.NFTA_LIST_ELEM, b)...)
	}
	return list, nil
}

// encodeExpr encodes an expression. The library leaves out the direction of conntrack's
// newer keys, and does not mark the counter of a dynset as nested.
func encodeExpr(e expr.Any) ([]byte, error) {
	switch e := e.(type) {
	case *expr.Ct:
		if e.Key == ctKeyDestinationIPv4 {
			return encodeAs("ct",
				attrUint32(unix.NFTA_CT_KEY, uint32(e.Key)), attrUint32(unix.NFTA_CT_DREG, e.Register),
				attr(unix.NFTA_CT_DIRECTION, []byte{byte(e.Direction)})), nil
		}
	case *expr.Dynset:
		return encodeAs("dynset",
			attrString(unix.NFTA_DYNSET_SET_NAME, e.SetName),
			attrUint32(unix.NFTA_DYNSET_SREG_KEY, e.SrcRegKey), attrUint32(unix.NFTA_DYNSET_OP, e.Operation),
			attrNested(unix.NFTA_DYNSET_EXPR, encodeAs("counter"))), nil
	}
	return expr.Marshal(unix.NFPROTO_INET, e)
}

func encodeAs(name string, attrs ...[]byte) []byte {
	return slices.Concat(attrString(unix.NFTA_EXPR_NAME, name), attrNested(unix.NFTA_EXPR_DATA, attrs...))
}
