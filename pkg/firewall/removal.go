// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// removal is the attachments that one call removes.
type removal struct {
	drivers   []policy.DriverName // that may accept addresses of them
	addresses []netip.Prefix
	zones     map[netip.Prefix]string // of firewalld, that the addresses are in
	bridges   []policy.Bridge         // only Name and Interfaces
	isolated  []string                // of bridges, those that are
	guarded   []policy.Port
	flows     []netip.Prefix // addresses whose connections go
	ports     portSet
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
	d.addBridge(a)
	if a.IngressPolicy.Isolates() {
		d.isolated = append(d.isolated, a.Bridge)
	}
	d.flows = append(d.flows, a.Addresses...)
	if a.IngressPolicy.Separates() && a.Port != "" {
		d.guarded = append(d.guarded, policy.Port{Name: a.Port, Bridge: a.Bridge, Addresses: a.Addresses})
	}
	d.ports.add(a)
}

func (d *removal) addBridge(a policy.Attachment) {
	isKnown := func(b policy.Bridge) bool { return isGroupOf(b, a) }
	if a.Bridge != "" && !slices.ContainsFunc(d.bridges, isKnown) {
		d.bridges = append(d.bridges, policy.Bridge{Name: a.Bridge, Interfaces: a.Interfaces})
	}
}

func isGroupOf(b policy.Bridge, a policy.Attachment) bool {
	return b.Name == a.Bridge && slices.Equal(b.Interfaces, a.Interfaces)
}

// portSet is bridge ports, by number where it is known, else by name.
type portSet struct {
	indices []int
	names   []string
}

func (s *portSet) add(a policy.Attachment) {
	switch {
	case a.PortIndex != 0:
		s.indices = append(s.indices, a.PortIndex)
	case a.Port != "":
		s.names = append(s.names, a.Port)
	}
}

func (s portSet) has(p link.Link) bool {
	return slices.Contains(s.indices, p.Index) || slices.Contains(s.names, p.Name)
}

func (s portSet) with(other portSet) portSet {
	return portSet{slices.Concat(s.indices, other.indices), slices.Concat(s.names, other.names)}
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

// removes reports whether the record of an entry goes.
func (d *removal) removes(e *store.Entry) bool {
	_, removed := d.records[e.File()]
	return removed
}

// remaining returns the entries that are not removed: nearly all, most of the time.
func (r records) remaining(d *removal) []store.Entry {
	rest := make([]store.Entry, 0, len(r.Entries))
	for i := range r.Entries {
		if !d.removes(&r.Entries[i]) {
			rest = append(rest, r.Entries[i])
		}
	}
	return rest
}

// remainingOn returns the entries of one bridge that are not removed.
func (r records) remainingOn(bridge string, d *removal) []store.Entry {
	return r.where(func(e *store.Entry) bool { return e.Attachment.Bridge == bridge && !d.removes(e) })
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
	if !needsTable(backendsOf(r.Entries)) && !d.hasTable() {
		used = slices.DeleteFunc(used, func(name policy.DriverName) bool { return name == policy.Table })
	}
	return inOrder(used)
}

// isAcceptedIn reports whether a driver accepts any recorded address. Of an adopted bridge
// none is recorded.
func (r records) isAcceptedIn(name policy.DriverName) bool {
	return slices.ContainsFunc(r.Entries, func(e store.Entry) bool {
		return len(e.Attachment.Addresses) > 0 && e.Attachment.Backend.AcceptsIn(name)
	})
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
	if iptables.IsUnusable(err) {
		return errors.Join(missing, err), nil // as if it were not installed
	}
	return missing, err
}

// removed returns what goes from one driver, in both families: the addresses that no
// remaining attachment has there, and the bridges with nobody left. A driver that
// nobody uses any more loses all bridges.
func (r records) removed(d *removal, driver policy.DriverName, empty []policy.Bridge) (policy.RuleSet, error) {
	var rs policy.RuleSet
	var err error
	rest := r.remaining(d)
	bridges := empty
	if !slices.Contains(driversOf(rest), driver) {
		var unused []string
		unused, err = r.withoutUnrecorded(rest, d.ports)
		bridges = slices.Concat(empty, groupsOn(rest, unused))
	}
	if !driver.Opens() {
		rs.Bridges = inBothFamilies(bridges)
	}
	if driver == policy.Table {
		rs.Ports, rs.KeptPorts = r.guards(d, rest)
	}
	rs.Zones = d.zones
	if slices.Contains(d.drivers, driver) {
		rs.Addresses = d.freed(driver, rest)
	}
	return rs, err
}

// removeNeedless removes what added attachments' bridges needed until now, where nothing
// of them is desired: their containers have no addresses, and their policy has become open.
func (fw *Engine) removeNeedless(
	r *records, added []policy.Attachment, before policy.RuleSet, desired policy.RuleSets,
) error {
	isDesired := func(b policy.Bridge) bool {
		return slices.ContainsFunc(bridgesIn(desired), func(now policy.Bridge) bool { return now.Name == b.Name })
	}
	needless := slices.DeleteFunc(before.On(bridgesOf(added)...).Bridges, isDesired)
	if len(needless) == 0 {
		return nil
	}
	var errs []error
	for _, b := range needless {
		b.IngressPolicy = policy.Open
		errs = append(errs, fw.ports.flagOf(r, b, fw.ports.links.Filtered))
	}
	rs := policy.RuleSet{Bridges: inBothFamilies(needless), Ports: before.Ports, KeptPorts: desired[policy.Table].Ports}
	for _, name := range slices.Backward(fw.drivers.holding(*r, newRemoval())) {
		if !name.Opens() {
			missing, err := fw.drivers.remove(name, rs)
			errs = append(errs, missing, err)
		}
	}
	return errors.Join(errs...)
}

// guards returns the ports that were guarded until now, and those that stay so.
func (r records) guards(d *removal, rest []store.Entry) (before, kept []policy.Port) {
	if len(d.guarded) == 0 {
		return nil, nil
	}
	before = slices.Concat(d.guarded, policy.Desired(r.briefs()...).Ports)
	return before, policy.Desired(briefsOf(rest)...).Ports
}

// groupsOn returns the groups of interfaces that entries have on some bridges.
func groupsOn(entries []store.Entry, bridges []string) []policy.Bridge {
	d := newRemoval()
	for _, e := range entries {
		if slices.Contains(bridges, e.Attachment.Bridge) {
			d.addBridge(e.Attachment)
		}
	}
	return d.bridges
}

func inBothFamilies(bridges []policy.Bridge) []policy.Bridge {
	bridges = slices.Clone(bridges)
	for i := range bridges {
		bridges[i].Families = policy.BothFamilies
	}
	return bridges
}

// freed returns the addresses that no remaining entry has in a driver.
func (d *removal) freed(driver policy.DriverName, rest []store.Entry) []netip.Prefix {
	return unusedBy(rest, d.addresses, func(e *store.Entry) bool {
		return !d.damaged[e.File()] && e.Attachment.Backend.AcceptsIn(driver)
	})
}

// unusedBy returns those of some addresses, each once, that none of the entries has which
// count. There are far more entries than addresses.
func unusedBy(entries []store.Entry, addresses []netip.Prefix, counts func(*store.Entry) bool) []netip.Prefix {
	unused := make(map[netip.Prefix]bool, len(addresses))
	for _, p := range addresses {
		unused[p] = true
	}
	for i := range entries {
		for _, p := range entries[i].Attachment.Addresses {
			if unused[p] && counts(&entries[i]) {
				delete(unused, p)
			}
		}
	}
	var found []netip.Prefix
	for _, p := range addresses {
		if unused[p] {
			found = append(found, p)
			delete(unused, p)
		}
	}
	return found
}
