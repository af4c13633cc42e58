// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestPolicyWords names who keeps out whom, and what to set instead.
func TestPolicyWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  Policy
		want string
	}{
		{
			Policy{Network: "red", IngressPolicy: policy.Isolated, From: "blue", FromPolicy: policy.SameBridge},
			`network "red" is isolated: containers of other isolated networks do not reach its own, and "blue" is same-bridge; ` +
				`publish the port and connect to the host's address, or set "ingressPolicy": "open" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.SameBridge, From: "blue", FromPolicy: policy.Isolated, IsDenied: true},
			`network "red" is same-bridge: containers of other isolated networks do not reach its own, and "blue" is isolated; ` +
				`set "ingressPolicy": "open" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.Isolated, From: "red", FromPolicy: policy.Isolated, IsWithin: true, IsDenied: true},
			`network "red" is isolated: its containers do not reach each other; set "ingressPolicy": "same-bridge" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.IsolatedStrict, From: "red", FromPolicy: policy.IsolatedStrict, IsWithin: true, IsDenied: true},
			`network "red" is isolated-strict: its containers do not reach each other; set "ingressPolicy": "strict" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.Strict},
			`network "red" is strict: only its own bridge and the host reach its containers; ` +
				`publish the port and connect to the host's address, or set "ingressPolicy": "same-bridge" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.Strict, From: "blue", FromPolicy: policy.SameBridge, IsDenied: true},
			`network "red" is strict: only its own bridge and the host reach its containers; set "ingressPolicy": "open" in its conflist`,
		}, {
			Policy{Network: "red", IngressPolicy: policy.Strict, IsDenied: true, IsPublished: true},
			`network "red" is strict and denies published ports: only its own bridge and the host reach its containers; ` +
				`set "publishedPorts": "allow" in its conflist`,
		},
	} {
		p := explainOne(&test.err, "")
		if !strings.HasPrefix(p.Problem, test.want) || p.Cure != `grep -rl '"red"' /etc/cni` {
			t.Errorf("got %+v, want %s", p, test.want)
		}
	}
}

// TestStoppedCures accepts the packets that were stopped, and no others.
func TestStoppedCures(t *testing.T) {
	t.Parallel()
	first := policy.Packet{
		Hook: policy.HookForward, In: policy.Interface{Name: "br1"}, Out: policy.Interface{Name: "br2"},
		Source: netip.MustParseAddr("fd00:1::2"), Destination: netip.MustParseAddr("fd00:2::2"), Protocol: "udp", Port: 53,
	}
	both := []policy.Packet{first, first.Reply()}
	for _, test := range []struct {
		err  Stopped
		want string
	}{
		{
			Stopped{Decision: policy.Decision{Family: "inet", Table: "guard", Base: "passing", Chain: "passing"}, Packets: both},
			`nft 'insert rule inet guard passing iifname "br1" oifname "br2" ip6 saddr fd00:1::2 ip6 daddr fd00:2::2 udp dport 53 accept' && ` +
				`nft 'insert rule inet guard passing iifname "br2" oifname "br1" ip6 saddr fd00:2::2 ip6 daddr fd00:1::2 udp sport 53 accept'`,
		}, {
			Stopped{
				Decision: policy.Decision{Program: "ip6tables", Table: "filter", Base: "FORWARD", Chain: "MINE", Rule: "-A MINE -j DROP"},
				Packets:  both, AcceptIn: "FORWARD",
			},
			"ip6tables -I FORWARD -i br1 -o br2 -s fd00:1::2 -d fd00:2::2 -p udp --dport 53 -j ACCEPT && " +
				"ip6tables -I FORWARD -i br2 -o br1 -s fd00:2::2 -d fd00:1::2 -p udp --sport 53 -j ACCEPT",
		}, {
			Stopped{
				Decision: policy.Decision{Program: "iptables", Table: "filter", Chain: "CNI-ADMIN", Rule: "-A CNI-ADMIN -s 10.1.0.2/32 -j DROP"},
				Packets:  both, IsOperators: true,
			},
			"iptables -D CNI-ADMIN -s 10.1.0.2/32 -j DROP",
		}, {
			Stopped{
				Decision: policy.Decision{Family: "inet", Table: "cni_firewall", Chain: "CNI-ADMIN", Handle: 9, Rule: "drop"},
				Packets:  both, IsOperators: true,
			},
			"nft delete rule inet cni_firewall CNI-ADMIN handle 9",
		}, {
			Stopped{
				Decision:    policy.Decision{Program: "iptables", Table: "filter", Chain: "CNI-ADMIN", Rule: "-A CNI-ADMIN -m comment --comment \"$(reboot)\" -j DROP"},
				IsOperators: true,
			},
			"iptables -S CNI-ADMIN",
		}, {
			Stopped{
				Decision: policy.Decision{Program: "iptables", Table: "filter", Base: "FORWARD", Chain: "FORWARD", Rule: "-A FORWARD -j DROP"},
				Packets:  []policy.Packet{{In: policy.Interface{Name: "a;reboot"}, Destination: netip.MustParseAddr("10.1.0.2")}}, AcceptIn: "FORWARD",
			},
			"iptables -I FORWARD -i 'a;reboot' -d 10.1.0.2 -j ACCEPT",
		}, {
			Stopped{Decision: policy.Decision{Family: "inet", Table: "firewalld", Rule: "drop"}, Packets: both, FromContainer: true},
			"firewall-cmd --zone=trusted --add-interface=br1",
		}, {
			Stopped{Decision: policy.Decision{Family: "inet", Table: "firewalld", Rule: "drop"}, Packets: both},
			"firewall-cmd --get-active-zones",
		},
	} {
		if got := explainOne(&test.err, "").Cure; got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
