// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// drivers are the host's drivers.
type drivers struct {
	all  map[policy.DriverName]policy.Driver
	warn func(...error)
}

// snapshots are what drivers held when they were read.
type snapshots map[policy.DriverName]policy.Snapshot

// read reads one driver for families, some of which are needed: an address has no
// rules without them. The others are those of other attachments and of bridges; a
// host that has no use for a family often has no program, or no tables, for it.
func (d drivers) read(name policy.DriverName, families, needed policy.Families) (policy.Snapshot, error) {
	driver, known := d.all[name]
	if !known {
		return nil, unknownBackend(policy.Backend(name))
	}
	installed, _ := driver.Installed(families)
	snapshot, err := driver.Read(installed)
	if lacks := needed &^ snapshot.Families(); lacks != 0 {
		_, missing := driver.Installed(lacks)
		return snapshot, errors.Join(missing, err)
	}
	d.warn(err)
	return snapshot, nil
}

func unknownBackend(b policy.Backend) error {
	return fmt.Errorf("the backend %q of a record is unknown to this version", b)
}

// readAll reads the drivers that rule sets are for. One that is not needed is read
// as far as it can be.
func (d drivers) readAll(
	desired policy.RuleSets, needed map[policy.DriverName]policy.Families,
) (snapshots, error) {
	actual := snapshots{}
	var errs []error
	for name, rs := range desired {
		snapshot, err := d.read(name, rs.Families(), needed[name])
		if snapshot != nil {
			actual[name] = snapshot
		}
		if _, isNeeded := needed[name]; isNeeded {
			errs = append(errs, err)
		} else {
			d.warn(err)
		}
	}
	return actual, errors.Join(errs...)
}

// needs returns that families are needed in the drivers of a backend.
func needs(backend policy.Backend, f policy.Families) map[policy.DriverName]policy.Families {
	needed := map[policy.DriverName]policy.Families{}
	for _, name := range backend.Drivers() {
		needed[name] = f
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
	var forwarding, published []error
	for _, name := range backend.Drivers() {
		if snapshot, read := s[name]; read {
			o := snapshot.Obstacles()
			forwarding, published = append(forwarding, o.Forwarding), append(published, o.Published)
		}
	}
	return policy.Obstacles{Forwarding: errors.Join(forwarding...), Published: errors.Join(published...)}
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
