// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Rules may outlive their owners: a host saves them and brings them back at the next
// boot, an earlier plugin never removes its isolation, a network moves to another
// backend. What a driver holds and no record has there is removed, unless a container
// without a record may need it: upstream's plugin keeps none.

// owners tells whether what a driver holds has an owner.
type owners struct {
	records
	driver policy.DriverName
	about  []string // bridges whose rules in other drivers are enough
	alone  []string // bridges on which every container has a record

	unrecorded bool // there is a container's port without a record on any bridge
}

// removeUnowned removes what nobody owns. Of the bridges that a call is about, other
// drivers hold enough by now.
func (fw *Engine) removeUnowned(r records, h held, about []string) error {
	unowned, err := r.unowned(h, about)
	errs := []error{err}
	for name, rs := range unowned {
		missing, err := fw.drivers.remove(name, rs)
		errs = append(errs, missing, err)
	}
	return errors.Join(errs...)
}

// unowned returns what drivers hold and nobody owns. With a record whose name is unknown,
// that cannot be told, and it is nothing.
func (r records) unowned(h held, about []string) (held, error) {
	h = maps.Clone(h)
	maps.DeleteFunc(h, func(_ policy.DriverName, rs policy.RuleSet) bool { return rs.IsEmpty() })
	if len(r.Problems) > 0 || len(h) == 0 {
		return nil, nil
	}
	o, err := r.owners(about)
	if err != nil {
		return nil, err
	}
	found := held{}
	var errs []error
	for name, rs := range h {
		o.driver = name
		unowned, err := o.unowned(rs)
		errs = append(errs, err)
		if !unowned.IsEmpty() {
			found[name] = unowned
		}
	}
	return found, errors.Join(errs...)
}

// unowned returns the part of what the driver holds that nobody owns.
func (o owners) unowned(all policy.RuleSet) (policy.RuleSet, error) {
	rs := policy.RuleSet{Inbound: map[netip.Prefix][]string{}}
	var errs []error
	for _, b := range all.Bridges {
		owned, err := o.ownBridge(b.Name)
		errs = append(errs, err)
		if err == nil && !owned {
			rs.Bridges = append(rs.Bridges, b)
		}
	}
	for _, p := range all.Addresses {
		from, unowned, err := o.unownedInterfaces(p, all.Inbound[p])
		errs = append(errs, err)
		if err == nil && unowned {
			rs.Addresses, rs.Inbound[p] = append(rs.Addresses, p), from
		}
	}
	ports, err := o.unownedPorts(all.Ports)
	rs.Ports, rs.KeptPorts = ports, policy.Desired(o.briefs()...).Ports
	rs.Bridges = inBothFamilies(rs.Bridges)
	return rs, errors.Join(append(errs, err)...)
}

// strays returns errors that name what drivers hold without a record: what nobody owns,
// and the bridges that another plugin isolates.
func (fw *Engine) strays(r records) (leftOver, foreign error) {
	h, _ := fw.drivers.held(policy.Filter, policy.Table) // what is in use is read, and told of, anyway
	var others []error
	unowned, err := r.unowned(h, nil)
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(unowned)) {
		errs = append(errs, diagnosis.Unowned(string(name), namesIn(unowned[name])))
	}
	theirs, err := h.isolated(r)
	for _, b := range theirs {
		others = append(others, diagnosis.Foreign(b.Name))
	}
	return errors.Join(append(errs, err)...), errors.Join(others...)
}

// namesIn returns what a rule set is about, sorted.
func namesIn(rs policy.RuleSet) []string {
	var names []string
	for _, b := range rs.Bridges {
		names = append(names, "bridge "+b.Name)
	}
	for _, p := range rs.Addresses {
		names = append(names, "address "+p.Addr().String())
	}
	for _, p := range rs.Ports {
		names = append(names, "port "+p.Name)
	}
	slices.Sort(names)
	return names
}

// owners returns who may own what drivers hold.
func (r records) owners(about []string) (owners, error) {
	o := owners{records: r, about: about}
	var known portSet
	for _, e := range r.Entries {
		if a, err := r.store.Read(e); err == nil {
			known.add(a)
		}
	}
	links, err := r.links.All()
	if err != nil {
		return o, err
	}
	isUnrecorded := func(l link.Link) bool {
		return l.IsContainerPort() && !known.has(l) && !slices.Contains(r.Leaving, l.Index)
	}
	// An address that the host has no route to is on a bridge without a gateway: what ptp
	// makes has a route, and a host's uplink may be a veth, too.
	o.unrecorded = slices.ContainsFunc(links, func(l link.Link) bool { return l.MasterIndex != 0 && isUnrecorded(l) })
	for _, bridge := range links {
		isOnIt := func(l link.Link) bool { return l.MasterIndex == bridge.Index && isUnrecorded(l) }
		if bridge.IsBridge() && !slices.ContainsFunc(links, isOnIt) {
			o.alone = append(o.alone, bridge.Name)
		}
	}
	return o, nil
}

// ownBridge reports whether a bridge has an owner: a record, if the driver is in use and
// so isolates the bridges of all records, or a container that has none.
func (o owners) ownBridge(name string) (bool, error) {
	isOn := func(e store.Entry) bool { return e.Attachment.Bridge == name }
	if slices.ContainsFunc(o.Entries, isOn) && slices.ContainsFunc(o.Entries, o.holds) {
		return true, nil
	}
	if slices.Contains(o.about, name) {
		return false, nil
	}
	return o.mayUse(name)
}

// mayUse reports whether a container without a record may be on an interface.
func (o owners) mayUse(name string) (bool, error) {
	found, err := o.links.Existing([]string{name})
	return len(found) > 0 && !slices.Contains(o.alone, name), err
}

// holds reports whether the driver holds rules of an entry.
func (o owners) holds(e store.Entry) bool {
	return slices.Contains(e.Attachment.Backend.Drivers(), o.driver)
}

// unownedInterfaces returns those of the interfaces by which an address may come in that
// nobody has who owns it, and whether the address is without an owner there. A driver
// that compares no interface names none.
func (o owners) unownedInterfaces(p netip.Prefix, from []string) (without []string, unowned bool, err error) {
	recorded, accepted := false, false
	var own []string
	for _, e := range o.Entries {
		if slices.Contains(e.Attachment.Addresses, p) {
			recorded = true
			if e.Attachment.Backend.AcceptsIn(o.driver) {
				accepted = true
				own = append(own, e.Attachment.Inbound()...)
			}
		}
	}
	if len(from) == 0 {
		if recorded {
			return nil, !accepted, nil
		}
		lives, err := o.mayLive(p.Addr())
		return nil, !lives, err
	}
	var errs []error
	for _, name := range from {
		if slices.Contains(own, name) {
			continue // most have a record; the kernel is asked about the others
		}
		used, err := o.mayUse(name)
		errs = append(errs, err)
		if !used {
			without = append(without, name)
		}
	}
	return without, len(without) > 0, errors.Join(errs...)
}

// mayLive reports whether a container without a record may have an address.
func (o owners) mayLive(address netip.Addr) (bool, error) {
	index, err := o.links.RouteTo(address)
	if err != nil {
		return false, err
	}
	l, err := byIndex(o.links, index)
	if l.Index == 0 {
		return o.unrecorded, err
	}
	return !slices.Contains(o.alone, l.Name), err
}

// unownedPorts returns the ports that no longer exist, and that no record has.
func (o owners) unownedPorts(ports []policy.Port) ([]policy.Port, error) {
	known := policy.Desired(o.briefs()...).Ports
	var names []string
	for _, p := range ports {
		names = append(names, p.Name)
	}
	existing, err := o.links.Existing(names)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p policy.Port) bool {
		isKnown := func(k policy.Port) bool { return k.Name == p.Name }
		return existing[p.Name] != 0 || slices.ContainsFunc(known, isKnown)
	}), nil
}
