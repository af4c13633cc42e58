// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// departure is the attachments that go in one call.
type departure struct {
	drivers   []policy.DriverName // that may have something of them
	addresses []netip.Prefix
	zones     map[netip.Prefix]string // of firewalld, that the addresses are in
	bridges   []string
	ports     []string
	records   map[string]store.Entry // by file
	damaged   map[string]bool        // files of records that cannot be read

	unrecorded bool // it has no record, and so nobody knows of which backend it is
}

func newDeparture() *departure {
	return &departure{zones: map[netip.Prefix]string{}, records: map[string]store.Entry{}, damaged: map[string]bool{}}
}

// leave adds an attachment.
func (d *departure) leave(a policy.Attachment) {
	if a.Backend != "" {
		d.drivers = append(d.drivers, a.Backend.Drivers()...)
	}
	d.addresses = append(d.addresses, a.Addresses...)
	for _, address := range a.Addresses {
		// Of a damaged record the zone is not known, and most likely the usual one.
		d.zones[address] = cmp.Or(a.Zone, d.zones[address], netconf.DefaultFirewalldZone)
	}
	if a.Bridge != "" && !slices.Contains(d.bridges, a.Bridge) {
		d.bridges = append(d.bridges, a.Bridge)
	}
	if a.Port != "" {
		d.ports = append(d.ports, a.Port)
	}
}

// part makes the attachment of a record leave. One whose content cannot be read
// is left alone: its addresses, which stand in its name, are closed, and its
// bridge stays isolated.
func (l live) part(d *departure, e store.Entry) error {
	a, err := l.store.Read(e)
	if err != nil {
		d.leave(policy.Attachment{Backend: e.Attachment.Backend, Addresses: e.Attachment.Addresses})
		d.damaged[e.File()] = true
		return err
	}
	d.leave(a)
	d.records[e.File()] = e
	return nil
}

// staying returns the entries of those that do not go.
func (l live) staying(d *departure) []store.Entry {
	var stay []store.Entry
	for _, e := range l.Entries {
		if _, goes := d.records[e.File()]; !goes {
			stay = append(stay, e)
		}
	}
	return stay
}

// depart takes the rules away, first from zones, then in each place the accepted
// addresses and the isolation in one transaction, and the records when that is
// done. After an
// error the records stay, and the next call finishes.
func (fw *Engine) depart(l live, d *departure) error {
	empty, err := l.emptyBridges(d)
	errs := []error{err}
	complete := true
	for _, name := range fw.concerned(l, d) {
		rs, err := l.gone(d, name, empty)
		fw.warn(err) // what cannot be told stays isolated
		missing, err := fw.take(name, rs)
		fw.warn(missing)
		complete = complete && missing == nil
		errs = append(errs, err)
		if err != nil && name.Opens() {
			break // what is still trusted must stay isolated
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fw.warn(l.markLeaving(d.ports))
	if complete { // else the rules may be there all the same, for a call that finds the tool
		for _, e := range d.records {
			fw.warn(l.store.Remove(e))
		}
	}
	return nil
}

// concerned returns the places that have something of a departure: those in use,
// as all isolate all bridges. Where nothing is recorded it may be any that the
// host has.
func (fw *Engine) concerned(l live, d *departure) []policy.DriverName {
	names := placesOfAll(l.Entries)
	if !d.unrecorded {
		return names
	}
	for name, at := range fw.host.Drivers {
		if installed, _ := at.Installed(policy.BothFamilies); installed != 0 {
			d.drivers = append(d.drivers, name)
			names = append(names, name)
		}
	}
	slices.SortFunc(names, openingFirst)
	return slices.Compact(names)
}

// take removes a rule set from one place. missing says what the host lacks to do
// so.
func (fw *Engine) take(name policy.DriverName, rs policy.RuleSet) (missing, err error) {
	needed := familiesOf(rs.Addresses)
	if at, known := fw.host.Drivers[name]; known {
		needed, missing = at.Installed(needed)
	}
	if errors.Is(missing, firewalld.ErrNotRunning) {
		return nil, nil // what it held went with it
	}
	t, err := fw.read(name, rs.Families(), needed)
	if t == nil {
		return missing, err
	}
	err = errors.Join(err, t.Remove(rs))
	fw.warn(t.Leftovers())
	return missing, err
}

func familiesOf(addresses []netip.Prefix) policy.Families {
	return policy.Attachment{Addresses: addresses}.Families()
}

// gone returns the rule set that goes from one place: the addresses that no other
// attachment has there meanwhile, and the bridges with nobody left, in both
// families. A place that nobody uses any more loses all bridges.
func (l live) gone(d *departure, driver policy.DriverName, empty []string) (policy.RuleSet, error) {
	var rs policy.RuleSet
	var err error
	staying := l.staying(d)
	bridges := empty
	if !slices.Contains(placesOfAll(staying), driver) {
		var left []string
		left, err = l.withoutStrangers(staying, d.ports)
		bridges = slices.Concat(empty, left)
	}
	if !driver.Opens() {
		rs = wholeBridges(bridges)
	}
	rs.Zones = d.zones
	if slices.Contains(d.drivers, driver) {
		rs.Addresses = d.freed(driver, staying)
	}
	return rs, err
}

// wholeBridges returns a rule set of bridges in both families.
func wholeBridges(names []string) policy.RuleSet {
	var rs policy.RuleSet
	for _, name := range names {
		rs.Bridges = append(rs.Bridges, policy.Bridge{Name: name, Families: policy.BothFamilies})
	}
	return rs
}

// freed returns the addresses that nobody who stays has in a place.
func (d *departure) freed(driver policy.DriverName, staying []store.Entry) []netip.Prefix {
	taken := map[netip.Prefix]bool{}
	for _, e := range staying {
		if d.damaged[e.File()] || !slices.Contains(e.Attachment.Backend.Drivers(), driver) {
			continue
		}
		for _, a := range e.Attachment.Addresses {
			taken[a] = true
		}
	}
	var free []netip.Prefix
	for _, a := range d.addresses {
		if !taken[a] {
			free = append(free, a)
			taken[a] = true
		}
	}
	return free
}

// withoutStrangers returns the bridges of entries on which nobody is but them
// and the ports that go. A container that upstream's plugin isolated has no
// record, and its rules in a backend that records no longer name.
func (l live) withoutStrangers(entries []store.Entry, going []string) ([]string, error) {
	ports := map[string][]string{}
	var errs []error
	for _, e := range entries {
		if e.Attachment.Bridge == "" {
			continue
		}
		a, err := l.store.Read(e)
		errs = append(errs, err)
		ports[e.Attachment.Bridge] = append(ports[e.Attachment.Bridge], a.Port)
	}
	var alone []string
	for _, bridge := range slices.Sorted(maps.Keys(ports)) {
		others, err := l.inUse(bridge, nil, append(ports[bridge], going...))
		if err == nil && !others {
			alone = append(alone, bridge)
		}
		errs = append(errs, err)
	}
	return alone, errors.Join(errs...)
}

// emptyBridges returns the bridges with nobody left. With an error a bridge
// stays, because it cannot be told.
func (l live) emptyBridges(d *departure) ([]string, error) {
	var empty []string
	var errs []error
	staying := l.staying(d)
	for _, name := range d.bridges {
		used, err := l.inUse(name, staying, d.ports)
		if err == nil && !used {
			empty = append(empty, name)
		}
		errs = append(errs, err)
	}
	return empty, errors.Join(errs...)
}

// markLeaving remembers the ports that are still there.
func (l live) markLeaving(ports []string) error {
	if l.store == nil {
		return nil
	}
	found, err := link.Existing(ports)
	errs := []error{err}
	for _, index := range found {
		errs = append(errs, l.store.MarkLeaving(index))
	}
	return errors.Join(errs...)
}

// partStale makes the attachments leave whose bridge no longer exists: their
// containers have no network, and nobody will delete them. A bridge that was
// never seen is one of a kind that the kernel does not show.
func (l live) partStale(d *departure) error {
	names := map[string]bool{}
	for _, e := range l.Entries {
		if e.Attachment.Bridge != "" {
			names[e.Attachment.Bridge] = true
		}
	}
	found, err := link.Existing(slices.Collect(maps.Keys(names)))
	if err != nil {
		return err
	}
	errs := []error{l.partNeedless(d)}
	for _, e := range l.Entries {
		if bridge := e.Attachment.Bridge; bridge == "" || found[bridge] != 0 {
			continue
		}
		if a, err := l.store.Read(e); err == nil && !a.Unseen {
			errs = append(errs, l.part(d, e))
		}
	}
	return errors.Join(errs...)
}
