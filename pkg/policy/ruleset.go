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
	Ports       []Port         // of bridges that separate their containers
	KeptPorts   []Port         // whose part of Ports stays; for removals
	Addresses   []netip.Prefix // to forward

	// Of the addresses, as far as known.
	Owners  map[netip.Prefix]Owner    // for comments, which people read
	Zones   map[netip.Prefix]string   // firewalld zones
	Inbound map[netip.Prefix][]string // interfaces of the host by which they may come in

	// Alone says that the kernel has no table beside these rules: nothing else
	// isolates, and nothing guards against forged addresses.
	Alone bool
}

// Owner is the container interface that has an address.
type Owner struct{ Network, ContainerID, IfName string }

// Bridge is what the rules say about one bridge, or about one of the networks that
// share it by VLANs.
type Bridge struct {
	Name           string
	Interfaces     []string // of the host, beside the bridge, that route for the network
	Network        string   // a network on the bridge, if known: for comments, which people read
	IngressPolicy  IngressPolicy
	PublishedPorts PublishedPorts
	Families       Families // of the containers on it
	Forwarded      bool     // a container on it has addresses to forward

	// Kept says that other networks keep the bridge: of this one only what Interfaces
	// have goes. For removals.
	Kept bool
}

// Group returns the interfaces of the host that are the network: packets among them
// stay on the same bridge.
func (b Bridge) Group() []string { return append([]string{b.Name}, b.Interfaces...) }

// Port is a container's port on a bridge that separates its containers, and whose
// addresses frames that come in by it may have.
type Port struct {
	Name, Bridge string
	Addresses    []netip.Prefix // of the attachment; no other port has frames with them
	Others       []netip.Prefix // of the same container, on other such bridges
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
			b := bridgeOf(a)
			group := b.id()
			bridges[group] = stricter(b, bridges[group])
		}
	}
	rs.Ports = portsOf(attachments)
	rs.Bridges = slices.AppendSeq(rs.Bridges, maps.Values(bridges))
	slices.SortFunc(rs.Bridges, func(a, b Bridge) int { return strings.Compare(a.id(), b.id()) })
	slices.SortFunc(rs.Ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
	rs.Addresses = sortUnique(rs.Addresses, compareHosts)
	rs.AdminChains = sortUnique(rs.AdminChains, strings.Compare)
	return rs
}

// portsOf returns the ports of isolated attachments. A container on two networks may
// answer by the one with its address on the other.
func portsOf(attachments []Attachment) []Port {
	var ports []Port
	byContainer := map[string][]netip.Prefix{}
	isIsolated := func(a *Attachment) bool { return a.IngressPolicy.Separates() && a.Port != "" }
	for i := range attachments {
		if a := &attachments[i]; isIsolated(a) {
			byContainer[a.container()] = append(byContainer[a.container()], a.Addresses...)
		}
	}
	for i := range attachments {
		a := &attachments[i]
		if !isIsolated(a) {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(byContainer[a.container()]), func(p netip.Prefix) bool {
			return slices.Contains(a.Addresses, p)
		})
		ports = append(ports, Port{a.Port, a.Bridge, a.Addresses, others})
	}
	return ports
}

func bridgeOf(a Attachment) Bridge {
	return Bridge{
		Name: a.Bridge, Interfaces: a.Interfaces, Network: a.Network,
		IngressPolicy: a.IngressPolicy, PublishedPorts: a.PublishedPorts,
		Families: a.Families(), Forwarded: len(a.Addresses) > 0,
	}
}

// id identifies the group. No interface has a slash in its name.
func (b Bridge) id() string {
	if len(b.Interfaces) == 0 {
		return b.Name
	}
	return strings.Join(b.Group(), "/")
}

// own notes the owner, the zone and the interfaces of an attachment's addresses. An
// attachment that was read from a record's name has no ContainerID and no zone.
func (rs *RuleSet) own(a Attachment) {
	if rs.Owners == nil {
		rs.Owners, rs.Zones, rs.Inbound = map[netip.Prefix]Owner{}, map[netip.Prefix]string{}, map[netip.Prefix][]string{}
	}
	for _, p := range a.Addresses {
		if a.ContainerID != "" {
			rs.Owners[p], rs.Zones[p] = Owner{a.Network, a.ContainerID, a.IfName}, a.Zone
		}
		rs.Inbound[p] = sortUnique(append(slices.Clone(rs.Inbound[p]), a.Inbound()...), strings.Compare)
	}
}

// RuleSets has the rule set of each driver.
type RuleSets map[DriverName]RuleSet

// ByDriver returns the rule sets of all drivers that the attachments' backends use.
//
// A driver that isolates does so for the bridges of all backends: either must stop a
// packet between bridges of two backends. A driver accepts only the addresses of
// accepted attachments whose backend accepts there. One that has nothing to do for a
// backend is left out.
func ByDriver(attachments, accepted []Attachment) RuleSets {
	own := map[DriverName][]Attachment{}
	for _, a := range accepted {
		for _, driver := range a.Backend.Drivers() {
			if a.Backend.AcceptsIn(driver) {
				own[driver] = append(own[driver], a)
			}
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
		for _, driver := range backend.Drivers() {
			rs := isolating
			if driver.Opens() {
				rs = RuleSet{}
			}
			rs = rs.With(Desired(own[driver]...))
			if driver != Table {
				rs.Ports = nil // frames are seen by it alone
			}
			if backend.AcceptsIn(driver) || len(rs.Bridges) > 0 {
				sets[driver] = rs
			}
		}
	}
	return sets
}

// WithoutTable returns the rule sets for a kernel without nf_tables. The filter tables
// isolate alone, and so in both families: a container may give itself an address.
func (s RuleSets) WithoutTable() RuleSets {
	without := maps.Clone(s)
	delete(without, Table)
	if rs, used := without[Filter]; used {
		rs.Alone = true
		rs.Bridges = slices.Clone(rs.Bridges)
		for i, b := range rs.Bridges {
			if b.IngressPolicy.Isolates() {
				rs.Bridges[i].Families = BothFamilies
			}
		}
		without[Filter] = rs
	}
	return without
}

// With returns the bridges and ports of the rule set, with all else from another one:
// what is accepted.
func (rs RuleSet) With(accepted RuleSet) RuleSet {
	accepted.Bridges, accepted.Ports, accepted.KeptPorts, accepted.Alone = rs.Bridges, rs.Ports, rs.KeptPorts, rs.Alone
	return accepted
}

// On returns the rule set with only some of its bridges, and the ports on them.
func (rs RuleSet) On(bridges ...string) RuleSet {
	rs.Bridges = slices.DeleteFunc(slices.Clone(rs.Bridges), func(b Bridge) bool {
		return !slices.Contains(bridges, b.Name)
	})
	rs.Ports = slices.DeleteFunc(slices.Clone(rs.Ports), func(p Port) bool {
		return !slices.Contains(bridges, p.Bridge)
	})
	return rs
}

// IsEmpty reports whether a rule set says nothing.
func (rs RuleSet) IsEmpty() bool {
	return len(rs.AdminChains)+len(rs.Bridges)+len(rs.Ports)+len(rs.Addresses) == 0
}

// In returns the part of the rule set for one family, and for it alone.
func (rs RuleSet) In(f Family) RuleSet {
	part := RuleSet{AdminChains: rs.AdminChains, Alone: rs.Alone}
	for _, b := range rs.Bridges {
		if b.Families.Has(f) {
			b.Families = Families(f)
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

// Families returns the families of the bridges, ports and addresses.
func (rs RuleSet) Families() Families {
	var s Families
	if len(rs.Ports) > 0 {
		s = BothFamilies
	}
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
	a.IngressPolicy = a.IngressPolicy.With(b.IngressPolicy)
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
