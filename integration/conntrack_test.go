// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/conntrack"
)

// tracked is a connection from one address to another. The kernel's table is filled over
// netlink: no packet is sent.
type tracked struct {
	protocol byte
	from, to string
	dnat     string // where the host redirects it to
	snat     string // whose address it has on its way
	zone     uint16
	oneWay   uint16 // the zone of its original direction
}

// forgotten are connections of 10.4.0.2 and fd00::2, kept those of others. The last
// ones have the address only where the host translates it: both their ends are others.
var (
	forgotten = []tracked{
		{protocol: unix.IPPROTO_UDP, from: "10.4.0.2", to: "192.0.2.1"},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.1", to: "10.4.0.2"},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.1", to: "192.0.2.254", dnat: "10.4.0.2"},
		{protocol: unix.IPPROTO_UDP, from: "10.4.0.2", to: "192.0.2.2", snat: "192.0.2.254"},
		{protocol: unix.IPPROTO_UDP, from: "10.4.0.2", to: "192.0.2.254", dnat: "10.4.0.2", snat: "192.0.2.254"},
		{protocol: unix.IPPROTO_TCP, from: "192.0.2.3", to: "10.4.0.2"},
		{protocol: unix.IPPROTO_ICMP, from: "192.0.2.3", to: "10.4.0.2"},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.4", to: "10.4.0.2", zone: 7},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.5", to: "10.4.0.2", oneWay: 8},
		{protocol: unix.IPPROTO_UDP, from: "fd00::2", to: "2001:db8::1"},
		{protocol: unix.IPPROTO_UDP, from: "2001:db8::1", to: "2001:db8::fe", dnat: "fd00::2"},
	}
	kept = []tracked{
		{protocol: unix.IPPROTO_UDP, from: "10.4.0.20", to: "192.0.2.1"},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.1", to: "192.0.2.253", dnat: "10.4.0.3"},
		{protocol: unix.IPPROTO_UDP, from: "fd00::20", to: "2001:db8::1"},
		{protocol: unix.IPPROTO_UDP, from: "192.0.2.6", to: "10.4.0.2", dnat: "10.4.0.3"},
		{protocol: unix.IPPROTO_UDP, from: "10.4.0.3", to: "192.0.2.5", snat: "10.4.0.2"},
	}
	ownAddresses = []netip.Addr{netip.MustParseAddr("10.4.0.2"), netip.MustParseAddr("fd00::2")}
)

// TestForgetFlows deletes the connections of two addresses, and of no others: from a
// table with few connections, and from one with so many that the kernel filters them.
func TestForgetFlows(t *testing.T) {
	t.Parallel()
	for name, bystanders := range map[string]int{"few": 0, "many": 16_000} {
		t.Run(name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, _ *host.Host) {
				for i := range bystanders {
					from := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
					ok(t, tracked{protocol: unix.IPPROTO_UDP, from: from.String(), to: "192.0.2.1"}.track())
				}
				testForgetFlows(t)
			})
		})
	}
}

func testForgetFlows(t *testing.T) {
	track(t, kept)
	want := trackedFlows(t)
	track(t, forgotten)
	if got := trackedFlows(t); len(got) != len(want)+len(forgotten) {
		t.Fatalf("the kernel tracks %d connections, want %d", len(got), len(want)+len(forgotten))
	}
	if redirected := must(conntrack.Kernel{}.Forget(ownAddresses))(t); !redirected {
		t.Error("no redirected connection was found")
	}
	if diff := gocmp.Diff(want, trackedFlows(t)); diff != "" {
		t.Errorf("connections (-want +left):\n%s", diff)
	}
	if redirected := must(conntrack.Kernel{}.Forget(ownAddresses))(t); redirected {
		t.Error("a redirected connection was found where none is left")
	}
	track(t, forgotten[3:4]) // its source is translated
	if redirected := must(conntrack.Kernel{}.Forget(ownAddresses[:1]))(t); redirected {
		t.Error("a connection that is not redirected counts as redirected")
	}
	if diff := gocmp.Diff(want, trackedFlows(t)); diff != "" {
		t.Errorf("connections of one address (-want +left):\n%s", diff)
	}
}

// TestForgetOpened deletes the connections that an address opened, and no others.
func TestForgetOpened(t *testing.T) {
	host.Test(t, func(t *testing.T, _ *host.Host) {
		track(t, slices.Concat(kept, forgotten))
		all := trackedFlows(t)
		want := slices.DeleteFunc(slices.Clone(all), func(f string) bool {
			_, ends, _ := strings.Cut(f, " ")
			return strings.HasPrefix(ends, "10.4.0.2 > ") || strings.HasPrefix(ends, "fd00::2 > ")
		})
		if len(all)-len(want) != 4 {
			t.Fatalf("of %q, %q are to stay", all, want)
		}
		ok(t, conntrack.Kernel{}.ForgetOpened(ownAddresses))
		if diff := gocmp.Diff(want, trackedFlows(t)); diff != "" {
			t.Errorf("connections (-want +left):\n%s", diff)
		}
	})
}

// TestForgetFlowsRestricted deletes connections where the sysctl that counts them is
// hidden, as old kernels hide it from rootless runtimes; and says that the capability is
// missing where it is.
func TestForgetFlowsRestricted(t *testing.T) {
	host.Test(t, func(t *testing.T, _ *host.Host) {
		track(t, forgotten)
		if err := withoutNetAdmin(func() error {
			_, err := conntrack.Kernel{}.Forget(ownAddresses)
			return err
		}); err == nil || !strings.Contains(err.Error(), "listing connections: operation not permitted") {
			t.Errorf("without CAP_NET_ADMIN: got error %v", err)
		}
		if got := trackedFlows(t); len(got) != len(forgotten) {
			t.Fatalf("the kernel tracks %q", got)
		}
		ok(t, unix.Mount("tmpfs", "/proc/sys/net/netfilter", "tmpfs", 0, ""))
		if redirected := must(conntrack.Kernel{}.Forget(ownAddresses))(t); !redirected {
			t.Error("no redirected connection was found")
		}
		if got := trackedFlows(t); len(got) > 0 {
			t.Errorf("left: %q", got)
		}
	})
}

// withoutNetAdmin runs do on a thread without CAP_NET_ADMIN, which ends with it.
func withoutNetAdmin(do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

func track(t *testing.T, flows []tracked) {
	t.Helper()
	for _, f := range flows {
		ok(t, f.track())
	}
}

// track has the kernel track a connection.
func (f tracked) track() error {
	from, to := netip.MustParseAddr(f.from), netip.MustParseAddr(f.to)
	family := uint8(unix.AF_INET)
	if from.Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family})
	req.AddData(f.tuple(nl.CTA_TUPLE_ORIG, from, to))
	req.AddData(f.tuple(nl.CTA_TUPLE_REPLY, to, from))
	req.AddData(nl.NewRtAttr(nl.CTA_TIMEOUT, binary.BigEndian.AppendUint32(nil, 600)))
	if f.zone != 0 {
		req.AddData(nl.NewRtAttr(nl.CTA_ZONE, binary.BigEndian.AppendUint16(nil, f.zone)))
	}
	const ctaNATSource, ctaNATDestination = 6, 13
	f.translate(req, ctaNATSource, f.snat)
	f.translate(req, ctaNATDestination, f.dnat)
	if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
		return fmt.Errorf("adding %+v to the kernel's table: %w", f, err)
	}
	return nil
}

func (f tracked) translate(req *nl.NetlinkRequest, kind int, address string) {
	if address == "" {
		return
	}
	least, most := 1, 2 // CTA_NAT_V4_MINIP, CTA_NAT_V4_MAXIP
	a := netip.MustParseAddr(address)
	if a.Is6() {
		least, most = 4, 5
	}
	nat := nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil)
	nat.AddRtAttr(least, a.AsSlice())
	nat.AddRtAttr(most, a.AsSlice())
	req.AddData(nat)
}

func (f tracked) tuple(kind int, from, to netip.Addr) *nl.RtAttr {
	source, destination := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if from.Is6() {
		source, destination = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil)
	addresses := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	addresses.AddRtAttr(source, from.AsSlice())
	addresses.AddRtAttr(destination, to.AsSlice())
	if f.oneWay != 0 && kind == nl.CTA_TUPLE_ORIG {
		const ctaTupleZone = 3
		tuple.AddRtAttr(ctaTupleZone, binary.BigEndian.AppendUint16(nil, f.oneWay))
	}
	protocol := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	protocol.AddRtAttr(nl.CTA_PROTO_NUM, []byte{f.protocol})
	if f.protocol == unix.IPPROTO_ICMP {
		echo := byte(8) // its reply is of type 0
		if kind == nl.CTA_TUPLE_REPLY {
			echo = 0
		}
		const ctaICMPID, ctaICMPType, ctaICMPCode = 4, 5, 6
		protocol.AddRtAttr(ctaICMPID, []byte{0, 1})
		protocol.AddRtAttr(ctaICMPType, []byte{echo})
		protocol.AddRtAttr(ctaICMPCode, []byte{0})
		return tuple
	}
	client, server := nl.CTA_PROTO_SRC_PORT, nl.CTA_PROTO_DST_PORT
	if kind == nl.CTA_TUPLE_REPLY {
		client, server = server, client
	}
	protocol.AddRtAttr(client, binary.BigEndian.AppendUint16(nil, 40_000))
	protocol.AddRtAttr(server, binary.BigEndian.AppendUint16(nil, 53))
	return tuple
}

// trackedFlows returns the connections that the kernel tracks, sorted.
func trackedFlows(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		for _, f := range must(netlink.ConntrackTableList(netlink.ConntrackTable, family))(t) {
			all = append(all, fmt.Sprintf("%d %s > %s, %s > %s", f.Forward.Protocol,
				f.Forward.SrcIP, f.Forward.DstIP, f.Reverse.SrcIP, f.Reverse.DstIP))
		}
	}
	slices.Sort(all)
	return all
}
