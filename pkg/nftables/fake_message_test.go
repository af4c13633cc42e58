// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// message is a message to or from nf_tables.
type message struct {
	kind, flags int // NFT_MSG_…, or batchBegin, or batchEnd
	sequence    uint32
	family      byte
	attrs       attributes
	elements    []attributes // of a message about elements
}

// The beginning and the end of a transaction are messages of nfnetlink. Their kinds
// count from that of nf_tables.
const (
	subsystem  = unix.NFNL_SUBSYS_NFTABLES << 8
	batchBegin = unix.NFNL_MSG_BATCH_BEGIN - subsystem
	batchEnd   = unix.NFNL_MSG_BATCH_END - subsystem
)

// attributes are the attributes of a message, by kind.
type attributes map[int][]byte

func (a attributes) text(kind int) string { return parseString(a[kind]) }

func parseAttributes(b []byte) (attributes, error) {
	a := attributes{}
	return a, eachAttr(b, func(kind int, value []byte) error {
		a[kind] = slices.Clone(value)
		return nil
	})
}

func mustParse(b []byte) attributes {
	a, err := parseAttributes(b)
	if err != nil {
		panic(err)
	}
	return a
}

// with returns the attributes with others added or replaced.
func (a attributes) with(b attributes) attributes {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

func (a attributes) append(b []byte) []byte {
	for _, kind := range slices.Sorted(maps.Keys(a)) {
		b = append(b, attr(kind, a[kind])...)
	}
	return b
}

// body returns the message without netlink's header.
func (m message) body() []byte {
	b := m.attrs.append([]byte{m.family, unix.NFNETLINK_V0, 0, 0})
	if len(m.elements) > 0 {
		b = append(b, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, encodeList(m.elements)...)...)
	}
	return b
}

func encodeList(list []attributes) [][]byte {
	elements := make([][]byte, len(list))
	for i, e := range list {
		elements[i] = attrNested(unix.NFTA_LIST_ELEM, e.append(nil))
	}
	return elements
}

// datagram encodes a message of the kernel.
func datagram(kind, flags int, sequence uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags))
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 4711) // port of the receiver
	b = append(b, body...)
	return append(b, make([]byte, -len(b)&3)...)
}

func errorBody(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func parseMessages(b []byte) ([]message, error) {
	raw, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return nil, err
	}
	messages := make([]message, len(raw))
	for i, r := range raw {
		kind := int(r.Header.Type) - subsystem
		m := message{kind: kind, flags: int(r.Header.Flags), sequence: r.Header.Seq, family: r.Data[0]}
		if m.attrs, err = parseAttributes(r.Data[4:]); err != nil {
			return nil, err
		}
		if strings.HasSuffix(kindName(kind), "SETELEM") {
			m.elements = parseList(m.attrs[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
			delete(m.attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		}
		messages[i] = m
	}
	return messages, nil
}

func parseList(b []byte) []attributes {
	var list []attributes
	_ = eachAttr(b, func(_ int, element []byte) error {
		list = append(list, mustParse(element))
		return nil
	})
	return list
}

var kindNames = []string{
	"NEWTABLE", "GETTABLE", "DELTABLE", "NEWCHAIN", "GETCHAIN", "DELCHAIN", "NEWRULE", "GETRULE", "DELRULE",
	"NEWSET", "GETSET", "DELSET", "NEWSETELEM", "GETSETELEM", "DELSETELEM", "NEWGEN", "GETGEN",
}

// kindName returns the name of a kind without its prefix NFT_MSG_.
func kindName(kind int) string {
	if kind >= 0 && kind < len(kindNames) {
		return kindNames[kind]
	}
	return fmt.Sprintf("kind %d", kind)
}

// kinds returns the kinds of messages in their order, each run once.
func kinds(messages []message) []string {
	var names []string
	for _, m := range messages {
		names = append(names, kindName(m.kind))
	}
	return slices.Compact(names)
}
