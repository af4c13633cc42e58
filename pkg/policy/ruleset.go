// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// RuleSet is what the kernel must hold for some attachments, in the model's own
// words. All slices are sorted and free of duplicates.
type RuleSet struct {
	AdminChains []string       // jumped to ahead of everything that is accepted
	Bridges     []Bridge       // isolated, or with published ports to accept
	Addresses   []netip.Prefix // forwarded

	Owners map[netip.Prefix]Owner  // of the addresses, as far as known: for who reads the rules
	Zones  map[netip.Prefix]string // of firewalld, that the addresses are to be in, as far as known
}

// Owner is the interface of a container that has an address.
type Owner struct{ Network, ContainerID, IfName string }

// Bridge is what the rules say about one bridge.
type Bridge struct {
	Name           string
	Network        string // one on the bridge, if known: for who reads the rules
	IngressPolicy  IngressPolicy
	PublishedPorts PublishedPorts
	Families       Families // of the containers on it
	Forwarded      bool     // there is a container on it whose addresses are
}

// Desired returns the rule set for attachments. It is the only place that
// decides what must be there. Where two attachments disagree about a bridge,
// the stricter holds.
func Desired(attachments ...Attachment) RuleSet {
	var rs RuleSet
	bridges := make(map[string]Bridge, len(attachments))
	for _, a := range attachments {
		if a.Families() == 0 {
			continue // neither an address to forward nor anything to isolate
		}
		if a.AdminChain != "" {
			rs.AdminChains = append(rs.AdminChains, a.AdminChain)
		}
		rs.Addresses = append(rs.Addresses, a.Addresses...)
		rs.own(a)
		if a.Bridge != "" {
			b := Bridge{a.Bridge, a.Network, a.IngressPolicy, a.PublishedPorts, a.Families(), len(a.Addresses) > 0}
			bridges[a.Bridge] = stricter(b, bridges[a.Bridge])
		}
	}
	rs.Bridges = slices.AppendSeq(rs.Bridges, maps.Values(bridges))
	slices.SortFunc(rs.Bridges, func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) })
	rs.Addresses = sortUnique(rs.Addresses, compareHosts)
	rs.AdminChains = sortUnique(rs.AdminChains, strings.Compare)
	return rs
}

// own notes whose the addresses of an attachment are, and in which zone. Of one
// that only the name of a record tells of, neither is known.
func (rs *RuleSet) own(a Attachment) {
	if a.ContainerID == "" {
		return
	}
	if rs.Owners == nil {
		rs.Owners, rs.Zones = map[netip.Prefix]Owner{}, map[netip.Prefix]string{}
	}
	for _, p := range a.Addresses {
		rs.Owners[p] = Owner{a.Network, a.ContainerID, a.IfName}
		rs.Zones[p] = a.Zone
	}
}

// RuleSets are what the drivers of some backends must hold.
type RuleSets map[DriverName]RuleSet

// ByDriver returns what each driver must hold that a backend of the attachments
// uses. The first driver of each backend isolates every bridge, whatever its
// backend: a packet between the bridges of two backends must be stopped by either.
// All drivers accept addresses of their own backends only, and of those just the
// ones of the accepted attachments.
func ByDriver(attachments, accepted []Attachment) RuleSets {
	own := map[DriverName][]Attachment{}
	for _, a := range accepted {
		for _, driver := range a.Backend.Drivers() {
			own[driver] = append(own[driver], a)
		}
	}
	isolating := Desired(attachments...)
	sets := RuleSets{}
	seen := map[Backend]bool{}
	for i := range attachments {
		backend := attachments[i].Backend
		if seen[backend] {
			continue
		}
		seen[backend] = true
		for n, driver := range backend.Drivers() {
			accepts := Desired(own[driver]...)
			if n == 0 {
				sets[driver] = isolating.With(accepts)
			} else {
				sets[driver] = RuleSet{}.With(accepts)
			}
		}
	}
	return sets
}

// With returns the rule set with all its bridges, and of what is accepted just
// what another one says.
func (rs RuleSet) With(accepted RuleSet) RuleSet {
	rs.AdminChains, rs.Addresses = accepted.AdminChains, accepted.Addresses
	rs.Owners, rs.Zones = accepted.Owners, accepted.Zones
	return rs
}

// On returns the rule set with just some of its bridges.
func (rs RuleSet) On(bridges ...string) RuleSet {
	rs.Bridges = slices.DeleteFunc(slices.Clone(rs.Bridges), func(b Bridge) bool { return !slices.Contains(bridges, b.Name) })
	return rs
}

// In returns the part of the rule set that concerns one family.
func (rs RuleSet) In(f Family) RuleSet {
	part := RuleSet{AdminChains: rs.AdminChains}
	for _, b := range rs.Bridges {
		if b.Families.Has(f) {
			part.Bridges = append(part.Bridges, b)
		}
	}
	for _, p := range rs.Addresses {
		if FamilyOf(p) == f {
			part.Addresses = append(part.Addresses, p)
		}
	}
	return part
}

// Families returns the families in which the rule set says anything.
func (rs RuleSet) Families() Families {
	var s Families
	for _, b := range rs.Bridges {
		s |= b.Families
	}
	for _, p := range rs.Addresses {
		s = s.With(FamilyOf(p))
	}
	return s
}

// stricter joins what two attachments say about one bridge.
func stricter(a, b Bridge) Bridge {
	if slices.Index(IngressPolicies, b.IngressPolicy) > slices.Index(IngressPolicies, a.IngressPolicy) {
		a.IngressPolicy = b.IngressPolicy
	}
	if b.PublishedPorts == Deny {
		a.PublishedPorts = Deny
	}
	a.Families |= b.Families
	a.Forwarded = a.Forwarded || b.Forwarded
	a.Network = cmp.Or(a.Network, b.Network)
	return a
}

// compareHosts orders prefixes that hold one address each, IPv4 first.
func compareHosts(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }

func sortUnique[T comparable](s []T, compare func(a, b T) int) []T {
	slices.SortFunc(s, compare)
	return slices.Compact(s)
}
