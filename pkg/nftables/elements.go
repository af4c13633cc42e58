// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// elements are those of both tables.
type elements struct{ packets, frames []element }

func (e elements) all() []element { return slices.Concat(e.packets, e.frames) }

// desiredElements returns the elements of a rule set's bridges, ports and addresses:
// those that must be present, and those that must be absent.
func desiredElements(rs policy.RuleSet) elements {
	var bridges []element
	for _, b := range rs.Bridges {
		bridges = append(bridges, bridgeElements(b)...)
	}
	return elements{slices.Concat(addressElements(rs, true), merged(bridges)), portElements(rs.Ports, true)}
}

// absentElements returns all elements that a rule set's bridges, ports and addresses
// can have, as absent.
func absentElements(rs policy.RuleSet) elements {
	all := addressElements(rs, false)
	for _, b := range rs.Bridges {
		for _, e := range possibleElements(b) {
			e.present = false
			all = append(all, e)
		}
	}
	return elements{all, goneElements(rs.Ports, rs.KeptPorts)}
}

// bridgeElements returns the elements of a network: of each of its interfaces, and of
// each pair.
func bridgeElements(b policy.Bridge) []element {
	owner := policy.Owner{Network: b.Network}
	isolates := b.IngressPolicy.Isolates()
	var all []element
	for _, name := range b.Group() {
		key := interfaceKey(name)
		all = append(all, element{setIsolated, key, isolates, owner})
		for _, other := range b.Group() {
			pair := key + interfaceKey(other)
			all = append(all,
				element{setSameBridge, pair, isolates, owner},
				element{setBlockedWithin, pair, blockedByRule(b, name, other), owner})
		}
		all = append(all,
			element{chainForged, forgedKeyOf(b, name), isolates, owner},
			element{setStrict, key, b.IngressPolicy.IsStrict(), owner},
			element{setPublished, key, publishes(b), owner})
	}
	return all
}

// possibleElements is bridgeElements without those that other networks keep.
func possibleElements(b policy.Bridge) []element {
	return slices.DeleteFunc(bridgeElements(b), func(e element) bool {
		name := interfaceKey(b.Name)
		return b.Kept && (e.key == name || e.key == name+name)
	})
}

// merged returns elements, each once. Of two networks that share a bridge, the stricter
// holds.
func merged(all []element) []element {
	at := make(map[elementKey]int, len(all))
	var list []element
	for _, e := range all {
		n, seen := at[e.id()]
		switch {
		case !seen:
			at[e.id()] = len(list)
			list = append(list, e)
		case e.set == setPublished:
			list[n].present = list[n].present && e.present
		default:
			list[n].present = list[n].present || e.present
		}
	}
	return list
}

// isolatingElements returns the elements of a rule set, except those of some bridges,
// that block traffic by being present or absent. What two networks say of one element
// is no contradiction: it blocks.
func isolatingElements(rs policy.RuleSet, except []string) elements {
	all := elements{packets: make([]element, 0, 3*len(rs.Bridges)), frames: make([]element, 0, 3*len(rs.Ports))}
	for _, b := range rs.Bridges {
		if !slices.Contains(except, b.Name) {
			all.packets = appendBlocking(all.packets, b)
		}
	}
	for _, p := range rs.Ports {
		if !slices.Contains(except, p.Bridge) {
			all.frames = appendPort(all.frames, p, true)
		}
	}
	return all
}

// appendBlocking appends those of bridgeElements that block. It makes no others: a call
// compares these of all bridges.
func appendBlocking(all []element, b policy.Bridge) []element {
	owner := policy.Owner{Network: b.Network}
	for _, name := range b.Group() {
		key := interfaceKey(name)
		if b.IngressPolicy.Isolates() {
			all = append(all, element{setIsolated, key, true, owner}, element{chainForged, forgedKeyOf(b, name), true, owner})
		}
		if b.IngressPolicy.IsStrict() {
			all = append(all, element{setStrict, key, true, owner})
		}
		if !publishes(b) {
			all = append(all, element{setPublished, key, false, owner})
		}
		for _, other := range b.Group() {
			if blockedByRule(b, name, other) {
				all = append(all, element{setBlockedWithin, key + interfaceKey(other), true, owner})
			}
		}
	}
	return all
}

// publishes reports whether connections to published ports are exempt from the bridge's
// isolation.
func publishes(b policy.Bridge) bool {
	return b.IngressPolicy.Isolates() && b.PublishedPorts == policy.Allow
}

// blockedByRule reports whether a rule blocks traffic between two interfaces of a
// network. Within the bridge of a network with other interfaces none does: to
// br_netfilter, a frame to the gateway's own port looks the same. The flags of the ports
// keep the containers apart.
func blockedByRule(b policy.Bridge, from, to string) bool {
	return b.IngressPolicy.Separates() && (len(b.Interfaces) == 0 || from != b.Name || to != b.Name)
}

// forgedKeyOf returns the key of the rule for sources that an interface of a network is
// routed by.
func forgedKeyOf(b policy.Bridge, name string) string {
	if name == b.Name {
		return interfaceKey(name)
	}
	return interfaceKey(name) + interfaceKey(b.Name)
}

// stricter changes elements where others block, and returns which must be present.
func stricter(own, others []element) map[elementKey]bool {
	desired := make(map[elementKey]bool, len(own))
	for _, e := range own {
		desired[e.id()] = e.present
	}
	for _, e := range others {
		if _, is := desired[e.id()]; is {
			desired[e.id()] = e.present
		}
	}
	for i, e := range own {
		own[i].present = desired[e.id()]
	}
	return desired
}

func addressElements(rs policy.RuleSet, present bool) []element {
	var all []element
	for _, p := range rs.Addresses {
		for _, name := range rs.Inbound[p] {
			all = append(all, element{addressSet(p), interfaceKey(name) + addressKey(p), present, rs.Owners[p]})
		}
	}
	return all
}

func addressSet(p netip.Prefix) string {
	if policy.FamilyOf(p) == policy.IPv4 {
		return setIPv4
	}
	return setIPv6
}

// portElements returns the elements of ports in the table for frames.
func portElements(ports []policy.Port, present bool) []element {
	var all []element
	for _, port := range ports {
		all = appendPort(all, port, present)
	}
	return merged(all)
}

func appendPort(all []element, port policy.Port, present bool) []element {
	name := interfaceKey(port.Name)
	all = append(all, element{set: setPorts, key: name, present: present})
	for _, p := range port.Addresses {
		guarded, speakers := portSets(p)
		all = append(all,
			element{set: guarded, key: addressKey(p), present: present},
			element{set: speakers, key: name + addressKey(p), present: present})
	}
	for _, p := range port.Others {
		_, speakers := portSets(p)
		all = append(all, element{set: speakers, key: name + addressKey(p), present: present})
	}
	return all
}

func portSets(p netip.Prefix) (guarded, speakers string) {
	if policy.FamilyOf(p) == policy.IPv6 {
		return setGuardedIPv6, setSpeakersIPv6
	}
	return setGuardedIPv4, setSpeakersIPv4
}

// goneElements returns the elements of ports, as absent, without those that ports which
// stay have too.
func goneElements(ports, kept []policy.Port) []element {
	stays := map[elementKey]bool{}
	for _, e := range portElements(kept, true) {
		stays[e.id()] = true
	}
	return slices.DeleteFunc(portElements(ports, false), func(e element) bool { return stays[e.id()] })
}
