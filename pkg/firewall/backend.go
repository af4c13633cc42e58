// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Choose returns the backend for a network that names none. A host that has a
// part of iptables is one that uses it, and learns what is missing. An error says
// that firewalld runs and does not answer: what is set beside it, it may flush.
func (fw *Engine) Choose() (policy.Backend, error) {
	switch _, err := fw.host.Drivers[policy.Zones].Read(policy.BothFamilies); {
	case err == nil:
		return policy.Firewalld, nil
	case errors.Is(err, firewalld.ErrNotRunning):
	case firewalld.Absent(err):
		fw.warn(fmt.Errorf("going on without firewalld: %w", err))
	default:
		return "", err
	}
	if installed, _ := fw.host.Drivers[policy.Filter].Installed(policy.BothFamilies); installed != 0 {
		return policy.IPTables, nil
	}
	return policy.NFTables, nil
}

// withBackend returns an attachment with the backend that its network uses.
func (fw *Engine) withBackend(a policy.Attachment) (policy.Attachment, error) {
	var err error
	if a.Backend == "" {
		a.Backend, err = fw.Choose()
	}
	if err == nil {
		fw.host.About(a)
	}
	return a, err
}

// obstacles returns what keeps traffic from the containers of a backend although
// every rule is in place.
func (h held) obstacles(backend policy.Backend) policy.Obstacles {
	var forwarding, published []error
	for _, name := range backend.Drivers() {
		if snapshot, read := h[name]; read {
			o := snapshot.Obstacles()
			forwarding, published = append(forwarding, o.Forwarding), append(published, o.Published)
		}
	}
	return policy.Obstacles{Forwarding: errors.Join(forwarding...), Published: errors.Join(published...)}
}

// held is what the kernel holds, by place.
type held map[policy.DriverName]policy.Snapshot

// read reads one place's tables of families, of which some are needed: an
// address has no rules without them. The others are those of other attachments
// and of bridges; a host that has no use for a family often has no tool for it,
// or no tables.
func (fw *Engine) read(name policy.DriverName, families, needed policy.Families) (policy.Snapshot, error) {
	at, known := fw.host.Drivers[name]
	if !known {
		return nil, fmt.Errorf("the backend %q of a record is unknown to this version", name)
	}
	installed, _ := at.Installed(families)
	t, err := at.Read(installed)
	if lacks := needed &^ t.Families(); lacks != 0 {
		_, missing := at.Installed(lacks)
		return t, errors.Join(missing, err)
	}
	fw.warn(err)
	return t, nil
}

// readAll reads what rule sets are about. A place that is not needed is read as
// far as it can be.
func (fw *Engine) readAll(sets policy.RuleSets, needed map[policy.DriverName]policy.Families) (held, error) {
	h := held{}
	var errs []error
	for name, rs := range sets {
		t, err := fw.read(name, rs.Families(), needed[name])
		if t != nil {
			h[name] = t
		}
		if _, isNeeded := needed[name]; isNeeded {
			errs = append(errs, err)
		} else {
			fw.warn(err)
		}
	}
	return h, errors.Join(errs...)
}

// neededFor needs families in the places of a backend.
func neededFor(backend policy.Backend, f policy.Families) map[policy.DriverName]policy.Families {
	needed := map[policy.DriverName]policy.Families{}
	for _, name := range backend.Drivers() {
		needed[name] = f
	}
	return needed
}

// wholly needs the families of all rule sets.
func wholly(sets policy.RuleSets) map[policy.DriverName]policy.Families {
	needed := map[policy.DriverName]policy.Families{}
	for name, rs := range sets {
		needed[name] = rs.Families()
	}
	return needed
}

// check returns an error that names the first thing which the kernel does not
// hold as the rule sets say.
func (h held) check(sets policy.RuleSets) error {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if err := h[name].Check(sets[name]); err != nil {
			return err
		}
	}
	return nil
}

// backendsOf returns the backends that entries name.
func backendsOf(entries []store.Entry) []policy.Backend {
	names := map[policy.Backend]bool{}
	for _, e := range entries {
		names[e.Attachment.Backend] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// placesOfAll returns the places in which the backends of entries keep rules.
func placesOfAll(entries []store.Entry) []policy.DriverName {
	var names []policy.DriverName
	for _, backend := range backendsOf(entries) {
		names = append(names, backend.Drivers()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
