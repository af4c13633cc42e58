// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// All numbers of rtnetlink have the host's byte order. make archs runs these tests on a
// machine with the other one.

func uint32Of(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func attribute(kind int, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, uint16(kind)), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// linkMessage returns what the kernel says of an interface (struct ifinfomsg).
func linkMessage(index, flags int, attributes ...[]byte) []byte {
	family := []byte{unix.AF_UNSPEC, 0, 0, 0} // padding, and the type of hardware
	b := slices.Concat(family, uint32Of(index), uint32Of(flags), uint32Of(0))
	return append(b, slices.Concat(attributes...)...)
}

func TestParse(t *testing.T) {
	t.Parallel()
	const (
		kind, data, portKind, portData = 1, 2, 4, 5 // IFLA_INFO_…
		callIPTables, callIP6Tables    = 36, 37     // IFLA_BR_NF_CALL_…
		isolated                       = 33         // IFLA_BRPORT_ISOLATED
	)
	name := func(s string) []byte { return attribute(unix.IFLA_IFNAME, append([]byte(s), 0)...) }
	info := func(parts ...[]byte) []byte {
		return attribute(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, slices.Concat(parts...)...)
	}
	of := func(kind int, s string) []byte { return attribute(kind, append([]byte(s), 0)...) }
	for want, message := range map[Link][]byte{
		{Index: 258, Name: "br1", Kind: "bridge", Up: true, callIP6Tables: true}: linkMessage(258, unix.IFF_UP, name("br1"),
			info(of(kind, "bridge"), attribute(data|unix.NLA_F_NESTED,
				slices.Concat(attribute(callIPTables, 0), attribute(callIP6Tables, 1))...))),
		{Index: 7, Name: "veth1", Kind: "veth", Isolated: true, MasterIndex: 258, PeerAway: true}: linkMessage(7, 0, name("veth1"),
			attribute(unix.IFLA_LINK, uint32Of(2)...), attribute(unix.IFLA_LINK_NETNSID, uint32Of(0)...),
			attribute(unix.IFLA_MASTER, uint32Of(258)...),
			info(of(kind, "veth"), of(portKind, "bridge"), attribute(portData, attribute(isolated, 1)...))),
		{Index: 9, Name: "br1.5", Kind: "veth", LowerIndex: 259}: linkMessage(9, unix.IFF_BROADCAST, name("br1.5"),
			attribute(unix.IFLA_LINK, uint32Of(259)...), info(of(kind, "veth"))),
	} {
		if got, err := parse(message); err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestParseRoute(t *testing.T) {
	t.Parallel()
	// struct rtmsg: family, both lengths, tos, table, protocol, scope, type, flags.
	message := append([]byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST}, uint32Of(0)...)
	want := route{kind: unix.RTN_UNICAST, prefix: 24, index: 258}
	if got, err := parseRoute(append(message, attribute(unix.RTA_OIF, uint32Of(258)...)...)); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestNeighborMessage compares with struct ndmsg.
func TestNeighborMessage(t *testing.T) {
	t.Parallel()
	want := slices.Concat([]byte{unix.AF_INET6, 0, 0, 0}, uint32Of(258), uint32Of(0))
	if got := (&neighborMessage{family: unix.AF_INET6, index: 258}).Serialize(); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
