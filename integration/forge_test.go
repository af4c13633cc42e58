// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// forgers is a host whose containers send what they like. Every trick is shown to work
// before the plugin is there, and then not to.
type forgers struct {
	h *host.Host

	// The attacker publishes a port. Its neighbour is on the same bridge; the victim is
	// on another one, and publishes nothing; the accomplices help from an open bridge and
	// from outside.
	attacker, neighbour, victim, open, outside *host.Container
	containers                                 []*host.Container
	bridges                                    map[*host.Container]string
	attempt                                    int // for ports that no connection has used
}

// The port of the host that leads to the attacker's.
const publishedPort, attackerPort = 8080, 80

// victimPorts are those that victims serve: one for each attempt.
const victimPorts, firstVictimPort = 60, 5000

func newForgers(t *testing.T, h *host.Host, policy string) *forgers {
	t.Helper()
	f := &forgers{h: h, bridges: map[*host.Container]string{}}
	ok(t, h.Sysctl("net/ipv4/ip_forward=1"))
	ok(t, h.Sysctl("net/ipv6/conf/all/forwarding=1"))
	f.outside = must(h.Outside())(t)
	add := func(name, bridge string, n int, policy string, published map[int]int) *host.Container {
		network := host.Dual(name, bridge, n, map[string]any{"ingressPolicy": policy})
		network.Plain = true
		c := must(h.Add(network, name, published))(t)
		f.containers, f.bridges[c] = append(f.containers, c), bridge
		for i := range victimPorts {
			ok(t, c.Serve(firstVictimPort+i))
		}
		return c
	}
	f.attacker = add("red", "red0", 1, policy, map[int]int{publishedPort: attackerPort})
	network := host.Dual("red", "red0", 1, map[string]any{"ingressPolicy": policy})
	network.Plain = true
	f.neighbour = must(h.Add(network, "neighbour", nil))(t)
	f.containers, f.bridges[f.neighbour] = append(f.containers, f.neighbour), "red0"
	for i := range victimPorts {
		ok(t, f.neighbour.Serve(firstVictimPort+i))
	}
	ok(t, f.attacker.Serve(attackerPort))
	f.victim = add("blue", "blue0", 2, policy, nil)
	f.open = add("green", "green0", 3, "open", nil)
	for _, setting := range []string{
		"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0",
		"net/ipv4/conf/red0/rp_filter=0", "net/ipv4/conf/blue0/rp_filter=0", "net/ipv4/conf/green0/rp_filter=0",
		"net/ipv4/conf/uplink0/rp_filter=0",
		// As portmap does where a port is published on loopback.
		"net/ipv4/conf/red0/route_localnet=1",
	} {
		ok(t, h.Sysctl(setting))
	}
	return f
}

// protect has the plugin attach everybody.
func (f *forgers) protect(t *testing.T) {
	t.Helper()
	for _, c := range f.containers {
		must(c.Call(f.h.Firewall, "ADD"))(t)
		must(c.Call(f.h.Firewall, "CHECK"))(t)
	}
}

// nextPort returns a port that no attempt has used: no connection is left of one.
func (f *forgers) nextPort() uint16 {
	f.attempt++
	return uint16(firstVictimPort + f.attempt)
}

func at(address string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), port)
}

func addressOf(c *host.Container, family string) string {
	if family == "IPv6" {
		return c.IPv6
	}
	return c.IPv4
}

// gateway returns the hardware address by which a container reaches the host.
func (f *forgers) gateway(t *testing.T, c *host.Container) net.HardwareAddr {
	t.Helper()
	name := host.Uplink
	if c != f.outside {
		name = f.bridges[c]
	}
	return must(must(f.h.Self())(t).Hardware(name))(t)
}

// datagram sends a datagram by the host, whatever its source.
func (f *forgers) datagram(t *testing.T, by *host.Container, from, to netip.AddrPort, text string) error {
	t.Helper()
	packet, protocol := host.Datagram(from, to, text)
	return by.Raw(host.Frame{To: f.gateway(t, by), Protocol: protocol, Payload: packet})
}

// reply forges a connection from a victim to the attacker's published port, by anybody,
// and has the attacker answer it. On its own bridge portmap makes the host the source of
// such a connection: there the answer goes to the host.
func (f *forgers) reply(t *testing.T, by, victim *host.Container, family string) host.Verdict {
	t.Helper()
	port := f.nextPort()
	hostAddress := map[string]string{"IPv4": host.HostIPv4, "IPv6": host.HostIPv6}[family]
	source := at(addressOf(victim, family), port)
	return must(victim.Arrives(host.Patience, func(text string) error {
		if err := f.datagram(t, by, source, at(hostAddress, publishedPort), "knock"); err != nil {
			return err
		}
		from := at(addressOf(f.attacker, family), attackerPort)
		if victim == f.neighbour {
			gateway := map[string]string{"IPv4": "10.1.0.1", "IPv6": "fd00:1::1"}[family]
			if err := f.datagram(t, f.attacker, from, at(gateway, port), text); err != nil {
				return err
			}
		}
		return f.datagram(t, f.attacker, from, source, text)
	}))(t)
}

// repliesOnly lets nothing from the attacker's bridge to its victims but what conntrack
// takes for part of a redirected connection. So a trick that gets through has worked.
const repliesOnly = `table inet replies { chain forward {
	type filter hook forward priority 5
	ct status dnat accept
	iifname red0 oifname { red0, blue0 } drop
}; }`

// forgeries are the tricks. blocked says for which policies, and other circumstances, the
// plugin stops them: none where the policy lets the packet pass anyhow.
type forgery struct {
	name    string
	try     func(t *testing.T, f *forgers, family string) host.Verdict
	blocked func(policy string, bridgeNF bool) bool
	only    string // family; empty: both

	isReply bool
}

func always(string, bool) bool { return true }

func ifIsolated(policy string, _ bool) bool { return policy == "isolated" }

func ifStrict(policy string, _ bool) bool { return policy == "strict" }

var forgeries = []forgery{
	{"a reply to another bridge, of a connection forged by the attacker", func(t *testing.T, f *forgers, family string) host.Verdict {
		return f.reply(t, f.attacker, f.victim, family)
	}, always, "", true},
	{"a reply to another bridge, of a connection forged from an open bridge", func(t *testing.T, f *forgers, family string) host.Verdict {
		return f.reply(t, f.open, f.victim, family)
	}, always, "", true},
	{"a reply to another bridge, of a connection forged from outside", func(t *testing.T, f *forgers, family string) host.Verdict {
		return f.reply(t, f.outside, f.victim, family)
	}, always, "", true},
	{"a reply to the same bridge, of a connection forged by the attacker", func(t *testing.T, f *forgers, family string) host.Verdict {
		return f.reply(t, f.attacker, f.neighbour, family)
	}, ifIsolated, "", true},
	{"a reply from outside, of a connection forged from an open bridge", func(t *testing.T, f *forgers, family string) host.Verdict {
		port := f.nextPort()
		outside, victim := at(addressOf(f.outside, family), port), at(addressOf(f.victim, family), port)
		return must(f.victim.Arrives(host.Patience, func(text string) error {
			if err := f.datagram(t, f.open, victim, outside, "knock"); err != nil {
				return err
			}
			return f.datagram(t, f.outside, outside, victim, text)
		}))(t)
	}, ifStrict, "", false},
	{"a datagram from outside with the address of a container", func(t *testing.T, f *forgers, family string) host.Verdict {
		port := f.nextPort()
		return must(f.victim.Arrives(host.Patience, func(text string) error {
			return f.datagram(t, f.outside, at(addressOf(f.attacker, family), port), at(addressOf(f.victim, family), port), text)
		}))(t)
	}, always, "", false},
	{"a raw frame to a port that is published on loopback", func(t *testing.T, f *forgers, _ string) host.Verdict {
		port := f.nextPort()
		must(f.h.Run("nft", fmt.Sprintf("table ip loopback { chain pre { type nat hook prerouting priority -100; "+
			"ip daddr 127.0.0.1 udp dport %d dnat to %s; }; }", port, f.victim.IPv4)))(t)
		return must(f.victim.Arrives(host.Patience, func(text string) error {
			return f.datagram(t, f.attacker, at(f.attacker.IPv4, port), at("127.0.0.1", port), text)
		}))(t)
	}, always, "IPv4", false},
	{"a tagged frame to the neighbour", func(t *testing.T, f *forgers, family string) host.Verdict {
		port := f.nextPort()
		return must(f.neighbour.Arrives(host.Patience, func(text string) error {
			packet, protocol := host.Datagram(
				at(addressOf(f.attacker, family), port), at(addressOf(f.neighbour, family), port), text)
			return f.attacker.Raw(host.Frame{
				To: must(f.neighbour.Hardware("eth0"))(t), Tagged: true, Protocol: protocol, Payload: packet,
			})
		}))(t)
	}, ifIsolated, "", false},
	{"PPPoE to the neighbour", func(t *testing.T, f *forgers, _ string) host.Verdict { return f.frame(t, host.EtherPPPoE) }, ifIsolated, "IPv4", false},
	{"another protocol to the neighbour", func(t *testing.T, f *forgers, _ string) host.Verdict { return f.frame(t, host.EtherOwn) }, ifIsolated, "IPv4", false},
}

// frame sends a frame of a protocol from the attacker to its neighbour.
func (f *forgers) frame(t *testing.T, protocol uint16) host.Verdict {
	t.Helper()
	return must(f.neighbour.Sees(host.Patience, func(text string) error {
		return f.attacker.Raw(host.Frame{To: must(f.neighbour.Hardware("eth0"))(t), Protocol: protocol, Payload: []byte(text)})
	}))(t)
}

// TestForgeries is the table of who can forge what. docs/SECURITY.md says it in words.
func TestForgeries(t *testing.T) {
	t.Parallel()
	for _, b := range host.Backends {
		inParts(t, b, map[string]part{
			"same-bridge": func(t *testing.T, h *host.Host) { forge(t, h, "same-bridge") },
			"isolated":    func(t *testing.T, h *host.Host) { forge(t, h, "isolated") },
			"strict":      func(t *testing.T, h *host.Host) { forge(t, h, "strict") },
		})
	}
}

// letForgedIn keeps firewalld itself from dropping what comes where no route to its source
// leads.
func letForgedIn(t *testing.T, h *host.Host) {
	t.Helper()
	shell(t, h, "echo IPv6_rpfilter=no >>/etc/firewalld/firewalld.conf; firewall-cmd --reload")
}

func forge(t *testing.T, h *host.Host, policy string) {
	t.Helper()
	if h.Backend.Key == host.FirewalldZones {
		letForgedIn(t, h)
	}
	f := newForgers(t, h, policy)
	each := func(what string, want func(forgery, string) host.Verdict) {
		for _, trick := range forgeries {
			for _, family := range []string{"IPv4", "IPv6"} {
				if trick.only != "" && trick.only != family {
					continue
				}
				if got := trick.try(t, f, family); got != want(trick, family) {
					t.Errorf("%s, %s: %s: %s, want %s", what, family, trick.name, got, want(trick, family))
				}
			}
		}
	}
	must(h.Feed(repliesOnly, "nft", "-f", "-"))(t)
	for _, trick := range forgeries {
		for _, family := range []string{"IPv4", "IPv6"} {
			if trick.isReply && trick.try(t, f, family) != host.Open {
				t.Errorf("without the plugin, replies only, %s: %s: blocked", family, trick.name)
			}
		}
	}
	must(h.Run("nft", "delete", "table", "inet", "replies"))(t)
	each("without the plugin", func(forgery, string) host.Verdict { return host.Open })
	f.protect(t)
	for _, on := range []string{"1", "0"} {
		ok(t, h.Sysctl("net/bridge/bridge-nf-call-iptables="+on))
		ok(t, h.Sysctl("net/bridge/bridge-nf-call-ip6tables="+on))
		must(h.Run(h.Firewall, "restore"))(t)
		each("br_netfilter "+on, func(trick forgery, _ string) host.Verdict {
			if trick.blocked(policy, on == "1") {
				return host.Blocked
			}
			return host.Open
		})
		f.legitimate(t, policy)
	}
}

// legitimate sends what must pass: to published ports, from other bridges and the same.
func (f *forgers) legitimate(t *testing.T, policy string) {
	t.Helper()
	for _, from := range []*host.Container{f.victim, f.neighbour, f.open, f.outside} {
		for _, address := range []string{host.HostIPv4, host.HostIPv6} {
			if strings.Contains(address, ":") && from == f.neighbour {
				continue // portmap has no hairpin for IPv6
			}
			got, err := from.Send(f.attacker, address, publishedPort, host.Patience)
			if err != nil || got != host.Open {
				t.Errorf("%s: from %s to the published port at %s: %s, %v", policy, from.Name, address, got, err)
			}
		}
	}
}
