// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/link"
)

var kernel link.Kernel

// twoPorts makes a bridge with an alternative name, two container ports on it, and a
// gateway whose other end is a port, too: as the bridge plugin does for a VLAN.
const twoPorts = `
	ip netns add c1; ip netns add c2
	ip link add br1 type bridge; ip link property add dev br1 altname blue-network
	for i in 1 2; do ip link add port$i master br1 type veth peer name eth0 netns c$i; done
	ip link add gateway type veth peer name bottom; ip link set bottom master br1
	for i in br1 port1 gateway bottom; do ip link set $i up; done
`

func linkNamed(t *testing.T, name string) link.Link {
	t.Helper()
	return must(kernel.ByName(name))(t)
}

// TestLinks looks interfaces up by name, alternative name and index.
func TestLinks(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		shell(t, h, twoPorts)
		bridge, port, bottom := linkNamed(t, "br1"), linkNamed(t, "port1"), linkNamed(t, "bottom")
		gateway := linkNamed(t, "gateway")
		for _, want := range []link.Link{
			{Index: bridge.Index, Name: "br1", Kind: "bridge", Up: true},
			{Index: port.Index, Name: "port1", Kind: "veth", Up: true, MasterIndex: bridge.Index, PeerAway: true},
			{Index: linkNamed(t, "port2").Index, Name: "port2", Kind: "veth", MasterIndex: bridge.Index, PeerAway: true},
			{Index: gateway.Index, Name: "gateway", Kind: "veth", Up: true, LowerIndex: bottom.Index},
			{Index: bottom.Index, Name: "bottom", Kind: "veth", Up: true, MasterIndex: bridge.Index, LowerIndex: gateway.Index},
		} {
			for _, got := range []link.Link{linkNamed(t, want.Name), must(kernel.ByIndex(want.Index))(t)} {
				if diff := gocmp.Diff(want, got, cmpopts.IgnoreUnexported(link.Link{})); diff != "" || want.Index == 0 {
					t.Errorf("%s (-want +got):\n%s", want.Name, diff)
				}
			}
		}
		if got := linkNamed(t, "blue-network"); got != bridge {
			t.Errorf("by its alternative name: got %+v, want %+v", got, bridge)
		}
		shell(t, h, `ip link set br1 down; ip link set br1 name renamed`)
		if got := must(kernel.ByIndex(bridge.Index))(t); got.Name != "renamed" || got.Up {
			t.Errorf("renamed and down: got %+v", got)
		}
		gone := port.Index
		names := must(kernel.Names([]int{bridge.Index, gone, gone + 1000, -1}))(t)
		if want := map[int]string{bridge.Index: "renamed", gone: "port1"}; !maps.Equal(names, want) {
			t.Errorf("got names %v, want %v", names, want)
		}
		shell(t, h, `ip link del port1`)
		if names := must(kernel.Names([]int{gone}))(t); len(names) > 0 {
			t.Errorf("a port that is gone has the names %v", names)
		}
		_, byName := kernel.ByName("port1")
		_, byIndex := kernel.ByIndex(gone)
		if !errors.Is(byName, link.ErrNotFound) || !errors.Is(byIndex, link.ErrNotFound) {
			t.Errorf("a port that is gone: got errors %v and %v", byName, byIndex)
		}
	})
}

// TestRouteTo asks for routes of all kinds.
func TestRouteTo(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		if _, err := h.Outside(); err != nil {
			t.Fatal(err)
		}
		shell(t, h, twoPorts+`
			ip addr add 10.4.0.1/24 dev br1; ip addr add fd00:4::1/64 dev br1 nodad
			ip addr add 10.5.0.1/24 dev gateway; ip addr add fd00:5::1/64 dev gateway nodad
			for kind in blackhole unreachable prohibit throw; do
				ip route add $kind 10.$((n += 1)).1.0/24; ip -6 route add $kind fd00:a$n::/64
			done
			ip route add 10.7.0.0/24 nexthop via 10.4.0.9 nexthop via 10.4.0.8
			ip -6 route add fd00:7::/64 nexthop via fd00:4::9 nexthop via fd00:4::8
			ip nexthop add id 1 via 10.4.0.9 dev br1; ip nexthop add id 2 via fd00:4::9 dev br1
			ip nexthop add id 3 group 1; ip nexthop add id 4 group 2
			ip route add 10.8.0.0/24 nhid 1; ip -6 route add fd00:8::/64 nhid 2
			ip route add 10.9.0.0/24 nhid 3; ip -6 route add fd00:9::/64 nhid 4
			ip route add 10.6.0.0/24 dev br1 table 7; ip rule add to 10.6.0.0/24 lookup 7
			ip -6 route add fd00:6::/64 dev br1 table 7; ip -6 rule add to fd00:6::/64 lookup 7
		`)
		for name, to := range map[string]struct{ ipv4, ipv6, by string }{
			"on the bridge":              {"10.4.0.2", "fd00:4::2", "br1"},
			"by the gateway":             {"10.5.0.2", "fd00:5::2", "gateway"},
			"by a rule":                  {"10.6.0.2", "fd00:6::2", "br1"},
			"several ways":               {"10.7.0.2", "fd00:7::2", "br1"},
			"a next hop":                 {"10.8.0.2", "fd00:8::2", "br1"},
			"a group of next hops":       {"10.9.0.2", "fd00:9::2", "br1"},
			"the default route":          {"192.0.2.1", "2001:db8::1", ""},
			"the host's own":             {"10.4.0.1", "fd00:4::1", ""},
			"broadcast, anycast":         {"10.4.0.255", "fd00:4::", ""},
			"blackhole":                  {"10.1.1.2", "fd00:a1::2", ""},
			"unreachable":                {"10.2.1.2", "fd00:a2::2", ""},
			"prohibit":                   {"10.3.1.2", "fd00:a3::2", ""},
			"throw to the default route": {"10.4.1.2", "fd00:a4::2", ""},
		} {
			want := 0
			if to.by != "" {
				want = linkNamed(t, to.by).Index
			}
			for _, address := range []string{to.ipv4, to.ipv6} {
				if got, err := kernel.RouteTo(netip.MustParseAddr(address)); err != nil || got != want {
					t.Errorf("%s: route to %s: got interface %d, error %v, want %d", name, address, got, err, want)
				}
			}
		}
		shell(t, h, `ip route del default; ip -6 route del default`)
		for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
			if got, err := kernel.RouteTo(netip.MustParseAddr(address)); err != nil || got != 0 {
				t.Errorf("no route to %s: got interface %d, error %v", address, got, err)
			}
		}
	})
}

// TestSetUp takes a port down and up again. One that is gone is down.
func TestSetUp(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		shell(t, h, twoPorts)
		port := linkNamed(t, "port1")
		for _, up := range []bool{false, false, true, true} {
			ok(t, kernel.SetUp(port, up))
			if got := linkNamed(t, "port1"); got.Up != up || got.MasterIndex != port.MasterIndex {
				t.Errorf("up %t: got %+v", up, got)
			}
		}
		shell(t, h, `ip link del port1`)
		ok(t, kernel.SetUp(port, false))
		if err := kernel.SetUp(port, true); err == nil {
			t.Error("a port that is gone was set up")
		}
	})
}

// ownFlags remembers ports as the records do.
type ownFlags struct {
	indices map[int]bool
	failing bool
}

func (f ownFlags) Has(index int) bool { return f.indices[index] }

func (f ownFlags) Remember(index int) error {
	if f.failing {
		return errors.New("the disk is full")
	}
	f.indices[index] = true
	return nil
}

func (f ownFlags) Forget(index int) error {
	delete(f.indices, index)
	return nil
}

func isolatedPorts(t *testing.T, bridge link.Link) []string {
	t.Helper()
	var names []string
	for _, p := range must(kernel.Ports(bridge))(t) {
		if p.Isolated {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// TestFlagPorts sets and clears the flags of container ports, and leaves those that
// others set.
func TestFlagPorts(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		shell(t, h, twoPorts+`bridge link set dev port2 isolated on`)
		bridge, first, second := linkNamed(t, "br1"), linkNamed(t, "port1").Index, linkNamed(t, "port2").Index
		own := ownFlags{indices: map[int]bool{}}
		expect := func(when string, mine []int, isolated ...string) {
			t.Helper()
			if got := slices.Sorted(maps.Keys(own.indices)); !slices.Equal(got, mine) {
				t.Errorf("%s: remembered %v, want %v", when, got, mine)
			}
			if got := isolatedPorts(t, bridge); !slices.Equal(got, isolated) {
				t.Errorf("%s: isolated %v, want %v", when, got, isolated)
			}
		}
		check := func(on, right bool) {
			t.Helper()
			if err := kernel.CheckPorts(bridge, on, own); (err == nil) != right || err != nil && !errors.Is(err, link.ErrFlag) {
				t.Errorf("CheckPorts(%t): got error %v, want none: %t", on, err, right)
			}
		}
		check(true, false)
		check(false, true)

		if err := kernel.FlagPorts(bridge, true, ownFlags{failing: true}); err == nil {
			t.Error("no error, though nothing can be remembered")
		}
		expect("what cannot be remembered", nil, "port2")
		ok(t, kernel.FlagPorts(bridge, true, own))
		expect("on", []int{first}, "port1", "port2")
		check(true, true)
		check(false, false)
		ok(t, kernel.FlagPorts(bridge, false, own))
		expect("off", nil, "port2")
		check(false, true)

		shell(t, h, `bridge link set dev port2 isolated off`)
		ok(t, kernel.FlagPorts(bridge, true, own))
		expect("all are the plugin's own", []int{first, second}, "port1", "port2")
		shell(t, h, `bridge link set dev port2 isolated off`)
		check(true, false)
		ok(t, kernel.FlagPorts(bridge, false, own))
		expect("another cleared one", nil)
		shell(t, h, `bridge link set dev port2 isolated on`)
		ok(t, kernel.FlagPorts(bridge, false, own))
		expect("and set it", nil, "port2")
	})
}
