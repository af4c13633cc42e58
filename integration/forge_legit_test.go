// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// shapes are networks that look like a forgery in one thing or another, and must work: an
// address that speaks by the bridge of another network, and one that the plugin has never
// heard of.
type shapes struct {
	h      *host.Host
	policy string

	// The proxy is on two networks, and publishes ports by its address on the first. Its
	// default route leads by the second, and so does what it answers.
	proxy, second *host.Container
	published     map[int]int
	// The VPN routes the addresses of a peer, which is on no bridge. The host has a route.
	vpn, peer *host.Container
	// The bystander is on a bridge of its own. It publishes a port, too.
	bystander, outside *host.Container
}

// The ports of the host, each of which leads to one of a container.
const (
	proxyPort, otherProxyPort, bystanderPort = 8000, 8001, 8002
	otherContainerPort                       = 81
)

func newShapes(t *testing.T, h *host.Host, policy string) *shapes {
	t.Helper()
	if h.Backend.Key == host.FirewalldZones {
		// firewalld's own rpfilter stops asymmetric replies in IPv6, and by default is on.
		shell(t, h, "echo IPv6_rpfilter=no >> /etc/firewalld/firewalld.conf; firewall-cmd --reload")
	}
	s := &shapes{h: h, policy: policy, outside: must(h.Outside())(t)}
	network := func(name string, n int) *host.Network {
		network := host.Dual(name, name+"0", n, place{policy, "allow"}.firewall())
		network.Plain = true
		return network
	}
	add := func(n *host.Network, name string, published map[int]int) *host.Container {
		c := must(h.Add(n, name, published))(t)
		ok(t, c.Serve(containerPort))
		return c
	}
	blue := network("blue", 2)
	s.published = map[int]int{proxyPort: containerPort, otherProxyPort: otherContainerPort}
	if h.Backend.Variant == "legacy" {
		// Its -C takes a DNAT of IPv6 to another port for the same rule, so that portmap leaves it out.
		delete(s.published, otherProxyPort)
	}
	s.proxy = add(blue, "proxy", s.published)
	ok(t, s.proxy.Serve(otherContainerPort))
	s.second = must(h.Join(network("red", 1), s.proxy, "eth1"))(t)
	s.vpn = add(blue, "vpn", nil)
	s.bystander = add(network("green", 3), "bystander", map[int]int{bystanderPort: containerPort})
	s.peer = must(h.Attach("peer", s.link(t)))(t)
	ok(t, s.peer.Serve(containerPort))
	return s
}

// link gives the proxy its default route, and the VPN its peer, whose namespace it returns.
func (s *shapes) link(t *testing.T) (netns string) {
	t.Helper()
	shell(t, s.h, fmt.Sprintf(`
		for i in all default blue0 red0 green0 uplink0; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done
		for f in -4 -6; do while ip -n proxy $f route del default 2>/dev/null; do :; done; done
		ip -n proxy route add default via 10.1.0.1; ip -n proxy route add default via fd00:1::1
		ip netns add peer
		ip -n vpn link add tunnel type veth peer name eth0 netns peer
		ip -n vpn addr add 10.99.0.1/24 dev tunnel; ip -n vpn addr add fd00:99::1/64 dev tunnel nodad
		ip -n vpn link set tunnel up
		ip -n peer addr add 10.99.0.2/24 dev eth0; ip -n peer addr add fd00:99::2/64 dev eth0 nodad
		ip -n peer link set eth0 up; ip -n peer link set lo up
		ip -n peer route add default via 10.99.0.1; ip -n peer route add default via fd00:99::1
		ip netns exec vpn sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		ip route add 10.99.0.0/24 via %s; ip route add fd00:99::/64 via %s`, s.vpn.IPv4, s.vpn.IPv6))
	return "/run/netns/peer"
}

func (s *shapes) call(t *testing.T, verb string) {
	t.Helper()
	for _, c := range []*host.Container{s.proxy, s.vpn, s.bystander} {
		must(c.Call(s.h.Firewall, verb))(t)
	}
	must(s.second.Call(s.h.Firewall, verb, "CNI_IFNAME=eth1"))(t)
}

// legitimateWays are those that must be open, with the plugin or without it.
func (s *shapes) legitimateWays() []probe {
	var all []probe
	for _, from := range []*host.Container{s.outside, s.bystander, s.peer} {
		for port := range s.published {
			all = append(all, ways(from, s.proxy, published, host.HostIPv4, host.HostIPv6, port)...)
		}
	}
	for _, from := range []*host.Container{s.outside, s.peer, s.proxy} {
		all = append(all, ways(from, s.bystander, published, host.HostIPv4, host.HostIPv6, bystanderPort)...)
	}
	all = append(all, ways(s.peer, s.outside, direct, host.OutsideIPv4, host.OutsideIPv6, containerPort)...)
	if s.policy != "strict" {
		all = append(all, s.inward()...)
	}
	return all
}

// forbiddenWays are those that the isolation closes all the same.
func (s *shapes) forbiddenWays() []probe {
	var all []probe
	for _, from := range []*host.Container{s.peer, s.proxy} {
		all = append(all, ways(from, s.bystander, direct, s.bystander.IPv4, s.bystander.IPv6, containerPort)...)
	}
	if s.policy == "strict" {
		all = append(all, s.inward()...)
	}
	return all
}

// inward are the ways from outside to the VPN's peer, which leave by a bridge like those to
// a container.
func (s *shapes) inward() []probe {
	return ways(s.outside, s.peer, direct, s.peer.IPv4, s.peer.IPv6, containerPort)
}

func ways(from, to *host.Container, p path, ipv4, ipv6 string, port int) []probe {
	var all []probe
	for in, address := range map[family]string{"IPv4": ipv4, "IPv6": ipv6} {
		for _, protocol := range protocols {
			all = append(all, probe{
				from: from.Name, to: fmt.Sprintf("%s:%d", to.Name, port), path: p, family: in, protocol: protocol,
				client: from, server: to, address: address, port: port,
			})
		}
	}
	return all
}

// TestLegitimateShapes has what looks like a forgery go on.
func TestLegitimateShapes(t *testing.T) {
	t.Parallel()
	for _, b := range host.Backends {
		inParts(t, b, map[string]part{
			"same-bridge": func(t *testing.T, h *host.Host) { testShapes(t, h, "same-bridge") },
			"isolated":    func(t *testing.T, h *host.Host) { testShapes(t, h, "isolated") },
			"strict":      func(t *testing.T, h *host.Host) { testShapes(t, h, "strict") },
		})
	}
}

func testShapes(t *testing.T, h *host.Host, policy string) {
	s := newShapes(t, h, policy)
	ok(t, s.outside.Serve(containerPort))
	expectVerdicts(t, "without the plugin", append(s.legitimateWays(), s.forbiddenWays()...), host.Open)
	s.call(t, "ADD")
	s.call(t, "CHECK")
	for _, filtered := range []bool{true, false} {
		passing(filtered).setUp(t, h)
		must(h.Run(h.Firewall, "restore"))(t)
		when := fmt.Sprintf("bridge-nf-call %d", bit(filtered))
		expectVerdicts(t, when, s.legitimateWays(), host.Open)
		expectVerdicts(t, when, s.forbiddenWays(), host.Blocked)
	}
}
