// SPDX-License-Identifier: Apache-2.0

// Package wire prints netlink's bytes for golden files, which are the same whatever the
// machine's byte order. Netlink's own numbers have the host's order. So have a few of
// nfnetlink's values; all other values are bytes to it.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Values print what hex digits would print otherwise on a machine with another byte
// order. Each is known by the numbers of its attribute and of those around it, from the
// outermost on, as in "4/1/2".
type Values map[string]func(value []byte) string

// Text returns the messages of a datagram of nfnetlink, one attribute a line. It leaves
// their sequence numbers out, which must count up.
func (v Values) Text(t *testing.T, datagram []byte) string {
	t.Helper()
	var text strings.Builder
	for sequence := uint32(0); len(datagram) > 0; sequence++ {
		const headers = unix.NLMSG_HDRLEN + 4
		length := binary.NativeEndian.Uint32(datagram)
		if length < headers || int(length) > len(datagram) || length%unix.NLMSG_ALIGNTO != 0 {
			t.Fatalf("%d bytes are left for a message of %#x", len(datagram), length)
		}
		m := datagram[:length]
		datagram = datagram[length:]
		got := binary.NativeEndian.Uint32(m[8:])
		if text.Len() == 0 {
			sequence = got
		}
		if got != sequence {
			t.Fatalf("a message has the sequence number %d, and not %d", got, sequence)
		}
		fmt.Fprintf(&text, "message %#x flags %#x port %d, nfnetlink %x\n",
			binary.NativeEndian.Uint16(m[4:]), binary.NativeEndian.Uint16(m[6:]),
			binary.NativeEndian.Uint32(m[12:]), m[unix.NLMSG_HDRLEN:headers])
		v.attributes(t, &text, "", m[headers:])
	}
	return text.String()
}

// attributes prints the attributes in b, which stand in the one that outer names.
func (v Values) attributes(t *testing.T, text *strings.Builder, outer string, b []byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			t.Fatalf("%d bytes are left in %q", len(b), outer)
		}
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		padded := (length + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		if length < unix.SizeofNlAttr || padded > len(b) {
			t.Fatalf("%d bytes are left in %q for an attribute of %#x", len(b), outer, length)
		}
		value := b[unix.SizeofNlAttr:length]
		b = b[padded:]
		name := path.Join(outer, strconv.Itoa(int(kind&^unix.NLA_F_NESTED)))
		indent := strings.Repeat("  ", strings.Count(name, "/")+1)
		if kind&unix.NLA_F_NESTED != 0 {
			fmt.Fprintf(text, "%s%s\n", indent, path.Base(name))
			v.attributes(t, text, name, value)
			continue
		}
		fmt.Fprintf(text, "%s%s %s\n", indent, path.Base(name), v.print(name, value))
	}
}

func (v Values) print(name string, value []byte) string {
	if print, known := v[name]; known {
		return print(value)
	}
	return Bytes(value)
}

// Bytes prints text with a zero at its end as such, and all else in hex digits.
func Bytes(value []byte) string {
	if text, ended := bytes.CutSuffix(value, []byte{0}); ended && len(text) > 0 && isPrintable(text) {
		return strconv.Quote(string(text))
	}
	return hex.EncodeToString(value)
}

func isPrintable(text []byte) bool {
	return !slices.ContainsFunc(text, func(b byte) bool { return b < ' ' || b > '~' })
}

// Uint32 prints a number of the host's byte order.
func Uint32(value []byte) string { return fmt.Sprintf("host %#x", binary.NativeEndian.Uint32(value)) }
