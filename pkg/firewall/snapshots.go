// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// drivers are the host's drivers.
type drivers struct {
	all  map[policy.DriverName]policy.Driver
	warn func(...error)
}

// snapshots are what drivers held when they were read.
type snapshots map[policy.DriverName]policy.Snapshot

// onHost returns the rule sets that a host can hold. On a kernel without nf_tables the
// filter tables isolate alone, unless a backend has nothing but the table.
func (d drivers) onHost(desired policy.RuleSets, needsTable bool) policy.RuleSets {
	if _, used := desired[policy.Table]; !used || needsTable || d.hasTable() {
		return desired
	}
	return desired.WithoutTable()
}

// hasTable reports whether the kernel has nf_tables.
func (d drivers) hasTable() bool {
	installed, _ := d.all[policy.Table].Installed(policy.BothFamilies)
	return installed != 0
}

// read reads one driver for families, some of which are needed: an address has no
// rules without them. The others are those of other attachments and of bridges; a
// host that has no use for a family often has no program, or no tables, for it.
func (d drivers) read(
	name policy.DriverName, families, needed policy.Families,
) (snapshot policy.Snapshot, warning, err error) {
	driver, known := d.all[name]
	if !known {
		return nil, nil, unknownBackend(policy.Backend(name))
	}
	installed, _ := driver.Installed(families)
	snapshot, err = driver.Read(installed)
	if lacks := needed &^ snapshot.Families(); lacks != 0 {
		_, missing := driver.Installed(lacks)
		return snapshot, nil, errors.Join(missing, err)
	}
	return snapshot, err, nil
}

func unknownBackend(b policy.Backend) error {
	return fmt.Errorf("the backend %q of a record is unknown to this version", b)
}

// readAll reads the drivers that rule sets are for, all at once: the table is read
// while the programs of iptables run. One that is not needed is read as far as it can
// be.
func (d drivers) readAll(
	desired policy.RuleSets, needed map[policy.DriverName]policy.Families,
) (snapshots, error) {
	type result struct {
		name         policy.DriverName
		snapshot     policy.Snapshot
		warning, err error
	}
	results := make(chan result, len(desired))
	for name, rs := range desired {
		go func() {
			snapshot, warning, err := d.read(name, rs.Families(), needed[name])
			results <- result{name, snapshot, warning, err}
		}()
	}
	actual := snapshots{}
	var errs []error
	for range desired {
		r := <-results
		if r.snapshot != nil {
			actual[r.name] = r.snapshot
		}
		if _, isNeeded := needed[r.name]; isNeeded {
			errs = append(errs, r.err)
		} else {
			d.warn(r.err)
		}
		d.warn(r.warning)
	}
	return actual, errors.Join(errs...)
}

// needs returns that families are needed in the drivers of a backend that rule sets
// are for.
func needs(
	desired policy.RuleSets, backend policy.Backend, f policy.Families,
) map[policy.DriverName]policy.Families {
	needed := map[policy.DriverName]policy.Families{}
	for _, name := range backend.Drivers() {
		if _, used := desired[name]; used {
			needed[name] = f
		}
	}
	return needed
}

// needsAll returns that every driver needs the families of its rule set.
func needsAll(desired policy.RuleSets) map[policy.DriverName]policy.Families {
	needed := map[policy.DriverName]policy.Families{}
	for name, rs := range desired {
		needed[name] = rs.Families()
	}
	return needed
}

// settled reads and compares until it sees no difference, or the same one twice in
// a row. A listing of iptables-nft is not taken at one moment: rules that another
// call writes meanwhile may be in it twice, or not at all.
func (d drivers) settled(
	desired policy.RuleSets, compare func(snapshots, policy.RuleSets) error,
) (actual snapshots, difference, err error) {
	const attempts = 5
	seen := ""
	for range attempts {
		if actual, err = d.readAll(desired, needsAll(desired)); err != nil {
			return actual, nil, err
		}
		difference = compare(actual, desired)
		if difference == nil || difference.Error() == seen {
			break
		}
		seen = difference.Error()
	}
	return actual, difference, nil
}

// check returns an error that names the first difference from the rule sets.
func (s snapshots) check(desired policy.RuleSets) error {
	return s.compare(desired, policy.Snapshot.Check)
}

// checkForeign is check for what upstream's plugin wrote.
func (s snapshots) checkForeign(desired policy.RuleSets) error {
	return s.compare(desired, policy.Snapshot.CheckForeign)
}

func (s snapshots) compare(
	desired policy.RuleSets, with func(policy.Snapshot, policy.RuleSet) error,
) error {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if err := with(s[name], desired[name]); err != nil {
			return err
		}
	}
	return nil
}

// obstacles returns what keeps traffic from the containers of a backend although
// every rule is in place.
func (s snapshots) obstacles(backend policy.Backend) policy.Obstacles {
	var forwarding, published, possible []error
	_, guarded := s[policy.Table]
	for _, name := range backend.Drivers() {
		if snapshot, read := s[name]; read && backend.AcceptsIn(name) {
			o := snapshot.Obstacles()
			if backend == policy.Firewalld {
				o.Forwarding = diagnosis.WithoutFirewalld(o.Forwarding)
			}
			forwarding, published = append(forwarding, o.Forwarding), append(published, o.Published)
			if name != policy.Filter || !guarded { // what passes by the filter tables, the table drops
				possible = append(possible, o.Possible)
			}
		}
	}
	return policy.Obstacles{
		Forwarding: errors.Join(forwarding...), Published: errors.Join(published...), Possible: errors.Join(possible...),
	}
}

// foreignDrops returns what rules of other programs drop, or may drop, of the traffic of a
// backend's containers.
func (s snapshots) foreignDrops(backend policy.Backend) (policy.Obstacles, error) {
	var all policy.Obstacles
	var errs []error
	for _, name := range backend.Drivers() {
		if snapshot, read := s[name]; read {
			o, err := snapshot.ForeignDrops()
			if !backend.AcceptsIn(name) { // what it carries past the table passes by the isolation
				o = policy.Obstacles{Possible: diagnosis.Flowtables(o.Possible)}
			}
			all.Forwarding, all.Possible = errors.Join(all.Forwarding, o.Forwarding), errors.Join(all.Possible, o.Possible)
			errs = append(errs, err)
		}
	}
	if backend == policy.Firewalld {
		all.Forwarding = diagnosis.WithoutFirewalld(all.Forwarding)
	}
	return all, errors.Join(errs...)
}

// held returns what was read that isolates, beside what was read before. What cannot be
// listed is left alone: an ADD does its own work.
func (s snapshots) held(before held) held {
	all := maps.Clone(before)
	if all == nil {
		all = held{}
	}
	for name, snapshot := range s {
		if rs, err := snapshot.Held(); err == nil {
			all[name] = rs
		}
	}
	return all
}

// removeFormer removes what rule sets, which are in force, have in the variant of iptables
// that the host used before.
func (s snapshots) removeFormer(desired policy.RuleSets) error {
	var errs []error
	for name, snapshot := range s {
		errs = append(errs, snapshot.RemoveFormer(desired[name]))
	}
	return errors.Join(errs...)
}

// guarded returns the interfaces whose addresses nothing guarded before.
func (s snapshots) guarded() []string {
	var names []string
	for _, snapshot := range s {
		names = append(names, snapshot.Guarded()...)
	}
	return names
}

// dropsSameBridge reports whether a bridge's policy was isolated until now, as its
// rules tell.
func (s snapshots) dropsSameBridge(bridge string) bool {
	for _, snapshot := range s {
		if snapshot.DropsSameBridge(bridge) {
			return true
		}
	}
	return false
}
