// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// request is a message to nf_tables, without its sequence number.
type request struct {
	kind   int // NFT_MSG_…
	flags  int // NLM_F_…
	attrs  []byte
	object string // name of what it creates or deletes

	family    byte // of the table; 0 for packets
	anyFamily bool // about all families, not only the table's own
}

// deletes reports whether the request deletes something.
func (r request) deletes() bool {
	switch r.kind {
	case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE,
		unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
		return true
	}
	return false
}

// append encodes the request for netlink.
func (r request) append(b []byte, sequence uint32) []byte {
	family := cmp.Or(r.family, packets.family)
	if r.anyFamily {
		family = unix.NFPROTO_UNSPEC
	}
	return appendMessage(b, unix.NFNL_SUBSYS_NFTABLES<<8|r.kind, r.flags, sequence, family, 0, r.attrs)
}

// appendMessage encodes netlink's header of 16 bytes, nfnetlink's of 4, and the
// attributes.
func appendMessage(b []byte, kind, flags int, sequence uint32, family byte, resource uint16, attrs []byte) []byte {
	length := unix.NLMSG_HDRLEN + 4 + len(attrs)
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags|unix.NLM_F_REQUEST))
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel knows the sender's
	b = append(b, family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, attrs...) // each padded, so that the next message is aligned
}

// attr encodes an attribute, with padding.
func attr(kind int, value []byte) []byte {
	b := make([]byte, 0, unix.SizeofNlAttr+len(value)+3)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = append(b, value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func attrString(kind int, s string) []byte { return attr(kind, append([]byte(s), 0)) }

// attrUint32 uses network byte order, as all numbers of nf_tables do.
func attrUint32(kind int, n uint32) []byte {
	return attr(kind, binary.BigEndian.AppendUint32(nil, n))
}

func attrNested(kind int, attrs ...[]byte) []byte {
	return attr(kind|unix.NLA_F_NESTED, slices.Concat(attrs...))
}

// Constants of linux/netlink.h, linux/netfilter.h and linux/netfilter/nf_tables.h
// that x/sys does not have.
const (
	nlaTypeMask   = 1<<14 - 1
	tableUserdata = 6  // NFTA_TABLE_USERDATA
	chainUserdata = 12 // NFTA_CHAIN_USERDATA
	tableComment  = 0  // NFTNL_UDATA_TABLE_COMMENT, NFTNL_UDATA_CHAIN_COMMENT
	nfDrop        = 0
	nfAccept      = 1
	nfPrerouting  = 0 // NF_INET_PRE_ROUTING, NF_BR_PRE_ROUTING
	nfForward     = 2 // NF_INET_FORWARD, NF_BR_FORWARD
)

// errMalformed says that a reply of the kernel is not what netlink defines.
var errMalformed = errors.New("the kernel's reply is malformed")

// eachAttr calls do for each attribute in b.
func eachAttr(b []byte, do func(kind int, value []byte) error) error {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return errMalformed
		}
		kind := int(binary.NativeEndian.Uint16(b[2:])) & nlaTypeMask
		if err := do(kind, b[unix.SizeofNlAttr:length]); err != nil {
			return err
		}
		b = b[min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
	return nil
}

// eachAttrOf calls do for each attribute of one kind in b.
func eachAttrOf(b []byte, kind int, do func(value []byte) error) error {
	return eachAttr(b, func(k int, value []byte) error {
		if k != kind {
			return nil
		}
		return do(value)
	})
}

func parseUint32(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func parseUint64(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func parseString(value []byte) string {
	if n := slices.Index(value, 0); n >= 0 {
		value = value[:n]
	}
	return string(value)
}
