// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// removal is the attachments that one call removes.
type removal struct {
	drivers   []policy.DriverName // that may accept addresses of them
	addresses []netip.Prefix
	zones     map[netip.Prefix]string // of firewalld, that the addresses are in
	bridges   []string
	ports     []string
	records   map[string]store.Entry // by file
	damaged   map[string]bool        // files of records that cannot be read

	unrecorded bool // one has no record, so that nobody knows its backend
}

func newRemoval() *removal {
	return &removal{zones: map[netip.Prefix]string{}, records: map[string]store.Entry{}, damaged: map[string]bool{}}
}

// add adds an attachment.
func (d *removal) add(a policy.Attachment) {
	for _, name := range a.Backend.Drivers() {
		if a.Backend.AcceptsIn(name) {
			d.drivers = append(d.drivers, name)
		}
	}
	d.addresses = append(d.addresses, a.Addresses...)
	for _, address := range a.Addresses {
		// A damaged record does not tell the zone; most likely it is the default.
		d.zones[address] = cmp.Or(a.Zone, d.zones[address], netconf.DefaultFirewalldZone)
	}
	if a.Bridge != "" && !slices.Contains(d.bridges, a.Bridge) {
		d.bridges = append(d.bridges, a.Bridge)
	}
	if a.Port != "" {
		d.ports = append(d.ports, a.Port)
	}
}

// removable returns an error for a record of a backend that only another version has.
// Where its rules are is not known, and so no call removes it.
func removable(e store.Entry) error {
	if slices.Contains(policy.Backends, e.Attachment.Backend) {
		return nil
	}
	return fmt.Errorf("leaving record %s alone: %w", e.File(), unknownBackend(e.Attachment.Backend))
}

// addTo adds the attachment of a record to a removal. A record that cannot be read
// is left alone: the addresses in its name are closed, and its bridge stays isolated.
func (r records) addTo(d *removal, e store.Entry) error {
	if err := removable(e); err != nil {
		return err
	}
	a, err := r.store.Read(e)
	if err != nil {
		d.add(policy.Attachment{Backend: e.Attachment.Backend, Addresses: e.Attachment.Addresses})
		d.damaged[e.File()] = true
		return err
	}
	d.add(a)
	d.records[e.File()] = e
	return nil
}

// remaining returns the entries that are not removed.
func (r records) remaining(d *removal) []store.Entry {
	var rest []store.Entry
	for _, e := range r.Entries {
		if _, removed := d.records[e.File()]; !removed {
			rest = append(rest, e)
		}
	}
	return rest
}

// holding returns the drivers that hold something of a removal: those in use, as
// each isolates all bridges. Where nothing is recorded it may be any that the host
// has.
func (d drivers) holding(r records, m *removal) []policy.DriverName {
	used := driversOf(r.Entries)
	if m.unrecorded {
		for name, driver := range d.all {
			if installed, _ := driver.Installed(policy.BothFamilies); installed != 0 {
				m.drivers = append(m.drivers, name)
				used = append(used, name)
			}
		}
	}
	return inOrder(used)
}

// remove removes a rule set from one driver. missing says what the host lacks
// to do so.
func (d drivers) remove(name policy.DriverName, rs policy.RuleSet) (missing, err error) {
	needed := familiesOf([]policy.Attachment{{Addresses: rs.Addresses}})
	if driver, known := d.all[name]; known {
		needed, missing = driver.Installed(needed)
	}
	if errors.Is(missing, firewalld.ErrNotRunning) {
		return nil, nil // what it held went with it
	}
	snapshot, warning, err := d.read(name, rs.Families(), needed)
	d.warn(warning)
	if snapshot == nil {
		return missing, err
	}
	err = errors.Join(err, snapshot.Remove(rs))
	d.warn(snapshot.Leftovers())
	return missing, err
}

// removed returns what goes from one driver, in both families: the addresses that no
// remaining attachment has there, and the bridges with nobody left. A driver that
// nobody uses any more loses all bridges.
func (r records) removed(d *removal, driver policy.DriverName, empty []string) (policy.RuleSet, error) {
	var rs policy.RuleSet
	var err error
	rest := r.remaining(d)
	bridges := empty
	if !slices.Contains(driversOf(rest), driver) {
		var unused []string
		unused, err = r.withoutUnrecorded(rest, d.ports)
		bridges = slices.Concat(empty, unused)
	}
	if !driver.Opens() {
		rs = wholeBridges(bridges)
	}
	rs.Zones = d.zones
	if slices.Contains(d.drivers, driver) {
		rs.Addresses = d.freed(driver, rest)
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

// freed returns the addresses that no remaining entry has in a driver.
func (d *removal) freed(driver policy.DriverName, rest []store.Entry) []netip.Prefix {
	taken := map[netip.Prefix]bool{}
	for _, e := range rest {
		if d.damaged[e.File()] || !e.Attachment.Backend.AcceptsIn(driver) {
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
