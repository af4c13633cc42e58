// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func hosts(addresses ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range addresses {
		addr := netip.MustParseAddr(a)
		list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return list
}

func attachment(bridge string, p IngressPolicy, ports PublishedPorts, addresses ...string) Attachment {
	return Attachment{
		Bridge: bridge, Addresses: hosts(addresses...), IngressPolicy: p, PublishedPorts: ports, AdminChain: "ADMIN",
	}
}

func TestDesired(t *testing.T) {
	t.Parallel()
	both := attachment("br1", SameBridge, Allow, "10.1.0.2", "fd00::2")
	tests := map[string]struct {
		attachments []Attachment
		want        RuleSet
	}{
		"nobody": {nil, RuleSet{}},
		"open without addresses": {
			[]Attachment{attachment("br1", Open, Allow)},
			RuleSet{},
		},
		"isolated without addresses, in both families": {
			[]Attachment{attachment("br1", Isolated, Deny)},
			RuleSet{AdminChains: []string{"ADMIN"}, Bridges: []Bridge{{Name: "br1", IngressPolicy: Isolated, PublishedPorts: Deny, Families: BothFamilies}}},
		},
		"isolated without addresses, in one family": {
			[]Attachment{{Bridge: "br1", IngressPolicy: SameBridge, PublishedPorts: Allow, IsolatedIn: Families(IPv4)}},
			RuleSet{Bridges: []Bridge{{Name: "br1", IngressPolicy: SameBridge, PublishedPorts: Allow, Families: Families(IPv4)}}},
		},
		"without a bridge": {
			[]Attachment{attachment("", Open, Allow, "10.1.0.2")},
			RuleSet{AdminChains: []string{"ADMIN"}, Addresses: hosts("10.1.0.2")},
		},
		"twice the same": {
			[]Attachment{both, both},
			RuleSet{AdminChains: []string{"ADMIN"},
				Bridges: []Bridge{{Name: "br1", IngressPolicy: SameBridge, PublishedPorts: Allow, Families: BothFamilies, Forwarded: true}}, Addresses: hosts("10.1.0.2", "fd00::2")},
		},
		"two bridges, sorted": {
			[]Attachment{attachment("br2", Open, Allow, "10.2.0.2"), attachment("br1", Isolated, Deny, "10.1.0.3", "10.1.0.2")},
			RuleSet{AdminChains: []string{"ADMIN"},
				Bridges:   []Bridge{{Name: "br1", IngressPolicy: Isolated, PublishedPorts: Deny, Families: Families(IPv4), Forwarded: true}, {Name: "br2", IngressPolicy: Open, PublishedPorts: Allow, Families: Families(IPv4), Forwarded: true}},
				Addresses: hosts("10.1.0.2", "10.1.0.3", "10.2.0.2")},
		},
		"the stricter of two, in the families of both": {
			[]Attachment{attachment("br1", Isolated, Allow, "10.1.0.2"), attachment("br1", SameBridge, Deny, "fd00::2")},
			RuleSet{AdminChains: []string{"ADMIN"},
				Bridges: []Bridge{{Name: "br1", IngressPolicy: Isolated, PublishedPorts: Deny, Families: BothFamilies, Forwarded: true}}, Addresses: hosts("10.1.0.2", "fd00::2")},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, Desired(test.attachments...), comparePrefixes, cmpopts.EquateEmpty(),
				cmpopts.IgnoreFields(RuleSet{}, "Inbound")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	rs := Desired(attachment("br1", Isolated, Allow, "10.1.0.2"), attachment("br2", Open, Deny, "10.2.0.2", "fd00::2"))
	want := RuleSet{AdminChains: []string{"ADMIN"}, Bridges: []Bridge{{Name: "br2", IngressPolicy: Open, PublishedPorts: Deny, Families: Families(IPv6), Forwarded: true}}, Addresses: hosts("fd00::2")}
	if diff := cmp.Diff(want, rs.In(IPv6), comparePrefixes); diff != "" {
		t.Error(diff)
	}
	if got := rs.Families(); got != BothFamilies {
		t.Errorf("got families %v, want both", got.List())
	}
	if got := rs.In(IPv4).Families(); got != Families(IPv4) {
		t.Errorf("got families %v of the part for IPv4", got)
	}
}

func TestByDriver(t *testing.T) {
	t.Parallel()
	of := func(backend Backend, a Attachment) Attachment {
		a.Backend, a.Network, a.ContainerID, a.IfName, a.Zone = backend, "net", "id", "eth0", "trusted"
		return a
	}
	one := of(IPTables, attachment("br1", SameBridge, Allow, "10.1.0.2"))
	two := of(Firewalld, attachment("br2", Isolated, Deny, "10.2.0.2"))
	bridges := []Bridge{
		{Name: "br1", Network: "net", IngressPolicy: SameBridge, PublishedPorts: Allow, Families: Families(IPv4), Forwarded: true},
		{Name: "br2", Network: "net", IngressPolicy: Isolated, PublishedPorts: Deny, Families: Families(IPv4), Forwarded: true},
	}
	accepted := RuleSet{
		AdminChains: []string{"ADMIN"}, Addresses: hosts("10.2.0.2"),
		Owners:  map[netip.Prefix]Owner{hosts("10.2.0.2")[0]: {"net", "id", "eth0"}},
		Zones:   map[netip.Prefix]string{hosts("10.2.0.2")[0]: "trusted"},
		Inbound: map[netip.Prefix][]string{hosts("10.2.0.2")[0]: {"br2"}},
	}
	want := RuleSets{
		Filter: {Bridges: bridges},
		Table:  RuleSet{Bridges: bridges}.With(accepted),
		Zones:  accepted,
	}
	if diff := cmp.Diff(want, ByDriver([]Attachment{one, two}, []Attachment{two}), comparePrefixes); diff != "" {
		t.Error(diff)
	}
}

// TestPorts lets a container speak by each of its isolated ports with the addresses of
// the others, and no other container.
func TestPorts(t *testing.T) {
	t.Parallel()
	at := func(container, bridge, port, address string) Attachment {
		a := attachment(bridge, Isolated, Allow, address)
		a.ContainerID, a.Port = container, port
		return a
	}
	one, two := at("c1", "br1", "v1", "10.1.0.2"), at("c1", "br2", "v2", "10.2.0.2")
	two.ContainerKey, two.ContainerID = ContainerKey("c1"), ""
	want := []Port{
		{"v1", "br1", hosts("10.1.0.2"), hosts("10.2.0.2")},
		{"v2", "br2", hosts("10.2.0.2"), hosts("10.1.0.2")},
		{"v3", "br1", hosts("10.1.0.3"), nil},
	}
	got := Desired(one, two, at("c2", "br1", "v3", "10.1.0.3")).Ports
	if diff := cmp.Diff(want, got, comparePrefixes, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}
