// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Held lists the tables, and returns the networks, ports and addresses that they have
// elements of.
func (s *Snapshot) Held() (policy.RuleSet, error) {
	if s.state == nil {
		return policy.RuleSet{}, errNotRead
	}
	if err := s.listAll(); err != nil {
		return policy.RuleSet{}, queryError(err)
	}
	rs := policy.RuleSet{Bridges: s.packets.bridges(), Ports: s.frames.ports(), Inbound: map[netip.Prefix][]string{}}
	for _, set := range []string{setIPv4, setIPv6} {
		for name, p := range s.packets.pairs(set) {
			rs.Addresses = append(rs.Addresses, p)
			rs.Inbound[p] = append(rs.Inbound[p], name)
		}
	}
	return rs, nil
}

func (s *Snapshot) listAll() error {
	for _, t := range s.tables() {
		if !t.exists || t.isForeign() {
			continue
		}
		for _, l := range t.tableLayout.ownSets() {
			if err := s.conn.listSet(t, l.name); err != nil {
				return err
			}
		}
	}
	return s.conn.listForged(s.packets)
}

// bridges returns the networks. The rules of chainForged tell which interfaces belong to
// which bridge.
func (t *table) bridges() []policy.Bridge {
	groups := map[string][]string{}
	for key := range t.forged() {
		bridge := interfaceName(key[len(key)-unix.IFNAMSIZ:])
		groups[bridge] = append(groups[bridge], interfaceName(key))
	}
	members := slices.Concat(slices.Collect(maps.Values(groups))...)
	for _, name := range t.names(setIsolated) {
		if !slices.Contains(members, name) {
			groups[name] = append(groups[name], name)
		}
	}
	var bridges []policy.Bridge
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		b := policy.Bridge{Name: name, Families: policy.BothFamilies}
		for _, other := range slices.Sorted(slices.Values(groups[name])) {
			if other != name {
				b.Interfaces = append(b.Interfaces, other)
			}
		}
		bridges = append(bridges, t.withPolicy(b))
	}
	return bridges
}

func (t *table) withPolicy(b policy.Bridge) policy.Bridge {
	name := interfaceKey(b.Name)
	b.IngressPolicy, b.PublishedPorts = policy.Open, policy.Deny
	if t.has(element{set: setIsolated, key: name}) {
		b.IngressPolicy = policy.SameBridge
	}
	if t.has(element{set: setStrict, key: name}) {
		b.IngressPolicy = policy.Strict
	}
	for _, other := range b.Group() {
		if t.has(element{set: setBlockedWithin, key: name + interfaceKey(other)}) {
			b.IngressPolicy = b.IngressPolicy.With(policy.Isolated)
		}
	}
	if t.has(element{set: setPublished, key: name}) {
		b.PublishedPorts = policy.Allow
	}
	return b
}

// ports returns the ports whose frames are guarded, each with the addresses that it may
// speak for.
func (t *table) ports() []policy.Port {
	addresses := map[string][]netip.Prefix{}
	for _, set := range []string{setSpeakersIPv4, setSpeakersIPv6} {
		for name, p := range t.pairs(set) {
			addresses[name] = append(addresses[name], p)
		}
	}
	for _, name := range t.names(setPorts) {
		addresses[name] = append(addresses[name], []netip.Prefix{}...)
	}
	var ports []policy.Port
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		ports = append(ports, policy.Port{Name: name, Addresses: addresses[name]})
	}
	return ports
}

// names returns the interfaces in a set that was listed.
func (t *table) names(set string) []string {
	var names []string
	for key := range t.keys(set) {
		if len(key) == unix.IFNAMSIZ {
			names = append(names, interfaceName(key))
		}
	}
	return names
}

// pairs yields the interfaces and addresses in a set that was listed.
func (t *table) pairs(set string) iter.Seq2[string, netip.Prefix] {
	return func(yield func(string, netip.Prefix) bool) {
		for key := range t.keys(set) {
			addr, isAddr := netip.AddrFromSlice([]byte(key[min(len(key), unix.IFNAMSIZ):]))
			if isAddr && !yield(interfaceName(key), netip.PrefixFrom(addr, addr.BitLen())) {
				return
			}
		}
	}
}

// keys yields the keys in a set that was listed.
func (t *table) keys(set string) iter.Seq[string] {
	return func(yield func(string) bool) {
		s := t.sets[set]
		if s == nil {
			return
		}
		for key, there := range s.elements {
			if there && !yield(key) {
				return
			}
		}
	}
}
