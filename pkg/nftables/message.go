// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// request is one message to nf_tables, without its sequence number.
type request struct {
	kind   int // NFT_MSG_…
	flags  int // NLM_F_…
	attrs  []byte
	object string // the object it makes or deletes

	anyFamily bool // not only the table's own
}

// append adds the request as netlink has it: a header of 16 bytes, one of
// nfnetlink's of 4, and the attributes.
func (r request) append(b []byte, sequence uint32) []byte {
	family := unix.NFPROTO_INET
	if r.anyFamily {
		family = unix.NFPROTO_UNSPEC
	}
	return appendMessage(b, unix.NFNL_SUBSYS_NFTABLES<<8|r.kind, r.flags, sequence, byte(family), 0, r.attrs)
}

func appendMessage(b []byte, kind, flags int, sequence uint32, family byte, resource uint16, attrs []byte) []byte {
	length := unix.NLMSG_HDRLEN + 4 + len(attrs)
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags|unix.NLM_F_REQUEST))
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel knows it
	b = append(b, family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, attrs...) // a multiple of 4 bytes, as each attribute is
}

// attr returns one attribute, padded.
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

// attrUint32 is in network byte order, as all numbers of nf_tables are.
func attrUint32(kind int, n uint32) []byte {
	return attr(kind, binary.BigEndian.AppendUint32(nil, n))
}

func attrNested(kind int, attrs ...[]byte) []byte {
	return attr(kind|unix.NLA_F_NESTED, slices.Concat(attrs...))
}

// What x/sys does not name, from linux/netlink.h and linux/netfilter/nf_tables.h.
const (
	nlaTypeMask   = 1<<14 - 1
	tableUserdata = 6  // NFTA_TABLE_USERDATA
	chainUserdata = 12 // NFTA_CHAIN_USERDATA
	tableComment  = 0  // NFTNL_UDATA_TABLE_COMMENT, and …_CHAIN_COMMENT
	nfDrop        = 0
	nfAccept      = 1
	nfForward     = 2 // NF_INET_FORWARD
)

// errMalformed says that an answer of the kernel's is not what netlink defines.
var errMalformed = errors.New("the kernel's answer is malformed")

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

func parseUint32(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func parseString(value []byte) string {
	if n := slices.Index(value, 0); n >= 0 {
		value = value[:n]
	}
	return string(value)
}
