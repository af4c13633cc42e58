// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// RuleSet says what must be in the kernel for some attachments. Each driver
// renders it in its own way. All slices are sorted and free of duplicates.
type RuleSet struct {
	AdminChains []string       // jumped to before anything is accepted
	Bridges     []Bridge       // to isolate, or with published ports to accept
	Addresses   []netip.Prefix // to forward

	// Of the addresses, as far as known.
	Owners map[netip.Prefix]Owner  // for comments, which people read
	Zones  map[netip.Prefix]string // firewalld zones
}

// Owner is the container interface that has an address.
type Owner struct{ Network, ContainerID, IfName string }

// Bridge is what the rules say about one bridge.
type Bridge struct {
	Name           string
	Network        string // a network on the bridge, if known: for comments, which people read
	IngressPolicy  IngressPolicy
	PublishedPorts PublishedPorts
	Families       Families // of the containers on it
	Forwarded      bool     // a container on it has addresses to forward
}

// Desired returns the rule set for attachments. Nothing else decides what the
// rules must be. If attachments disagree about a bridge, the strictest value holds.
func Desired(attachments ...Attachment) RuleSet {
	var rs RuleSet
	bridges := make(map[string]Bridge, len(attachments))
	for _, a := range attachments {
		if a.Families() == 0 {
			continue // nothing to forward, nothing to isolate
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

// own notes the owner and the zone of an attachment's addresses. An attachment that
// was read from a record's name has neither, and no ContainerID.
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

// RuleSets has the rule set of each driver.
type RuleSets map[DriverName]RuleSet

// ByDriver returns the rule sets of all drivers that the attachments' backends use.
//
// The first driver of each backend isolates the bridges of all backends: either
// must stop a packet between bridges of two backends. A driver accepts only the
// addresses of accepted attachments whose backend it belongs to.
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

// With returns the bridges of the rule set, with all else from another one: what is
// accepted.
func (rs RuleSet) With(accepted RuleSet) RuleSet {
	rs.AdminChains, rs.Addresses = accepted.AdminChains, accepted.Addresses
	rs.Owners, rs.Zones = accepted.Owners, accepted.Zones
	return rs
}

// On returns the rule set with only some of its bridges.
func (rs RuleSet) On(bridges ...string) RuleSet {
	rs.Bridges = slices.DeleteFunc(slices.Clone(rs.Bridges), func(b Bridge) bool {
		return !slices.Contains(bridges, b.Name)
	})
	return rs
}

// In returns the part of the rule set for one family.
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

// Families returns the families of the bridges and addresses.
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

// stricter merges what two attachments say about one bridge.
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

// compareHosts orders /32 and /128 prefixes, IPv4 first.
func compareHosts(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }

func sortUnique[T comparable](s []T, compare func(a, b T) int) []T {
	slices.SortFunc(s, compare)
	return slices.Compact(s)
}
