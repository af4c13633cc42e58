// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// choice is the backend of networks that name none, and why it is that one.
type choice struct {
	backend policy.Backend
	why     string
}

// Choose returns the backend for a network that names none, and has no records. A host
// that has part of iptables uses it, and is told what is missing. An error says that
// firewalld runs and does not answer: it might flush whatever was set beside it.
func (fw *Engine) Choose() (policy.Backend, error) {
	c, err := fw.drivers.choose()
	return c.backend, err
}

func (d drivers) choose() (choice, error) {
	switch _, err := d.all[policy.Zones].Read(policy.BothFamilies); {
	case err == nil:
		return choice{policy.Firewalld, "firewalld runs"}, nil
	case errors.Is(err, firewalld.ErrNotRunning):
	case firewalld.Absent(err):
		d.warn(fmt.Errorf("going on without firewalld: %w", err))
	default:
		return choice{}, err
	}
	installed, missing := d.all[policy.Filter].Installed(policy.BothFamilies)
	if installed != 0 {
		return choice{policy.IPTables, "iptables is installed, and firewalld does not run"}, nil
	}
	return choice{policy.NFTables, fmt.Sprint(missing)}, nil
}

// chooseIfUnnamed chooses, unless a backend is named.
func (d drivers) chooseIfUnnamed(named policy.Backend) (choice, error) {
	if named != "" {
		return choice{}, nil
	}
	return d.choose()
}

// withBackend returns an attachment with the backend of its configuration, or the one
// that its network has, whose rules can name all of its interfaces.
func (d drivers) withBackend(r records, a policy.Attachment, c choice) (policy.Attachment, error) {
	if a.Backend == "" {
		a.Backend = d.backendFor(r, a.Network, c)
	}
	return withNames(a)
}

// backendFor returns the backend of a network that names none. It keeps the one of its
// records as long as the host has that: containers do not move because a program is
// installed, or because another PATH finds it. Where firewalld runs, nobody else lets
// packets pass.
func (d drivers) backendFor(r records, network string, c choice) policy.Backend {
	key := store.NetworkKey(network)
	used := backendsWhere(r.Entries, func(e *store.Entry) bool { return e.NetworkKey == key })
	if c.backend == policy.Firewalld || slices.Contains(used, c.backend) {
		return c.backend
	}
	for _, backend := range used {
		if backend != policy.Firewalld && d.has(backend) {
			return backend
		}
	}
	return c.backend
}

// has reports whether the host has what a backend cannot do without.
func (d drivers) has(backend policy.Backend) bool {
	for _, name := range backend.Drivers() {
		driver, known := d.all[name]
		if !known {
			return false
		}
		if installed, _ := driver.Installed(policy.BothFamilies); installed == 0 && backend.Needs(name) {
			return false
		}
	}
	return true
}

// differs returns an error where the backend that a network gets is the one that was
// chosen, and none of those that records name.
func (c choice) differs(gets policy.Backend, entries []store.Entry) error {
	if c.backend == "" {
		return nil
	}
	used := backendsOf(entries)
	if len(used) == 0 || slices.Contains(used, gets) {
		return nil
	}
	return fmt.Errorf("a network without a \"backend\" gets %q here: %s; the records of this host name %q",
		c.backend, c.why, used)
}

// choiceDiffers is differs for a network that has no records yet.
func (fw *Engine) choiceDiffers(r records) error {
	c, err := fw.drivers.choose()
	return errors.Join(err, c.differs(c.backend, r.Entries))
}

// isUnusable reports whether iptables is there and does not work, so that a network which
// names no backend is better off with nftables.
func (d drivers) isUnusable(backend policy.Backend, err error) bool {
	return backend == policy.IPTables && errors.Is(err, iptables.ErrUnusable) && d.hasTable()
}

func insteadOfIPTables(why error) error {
	return fmt.Errorf("going on with the backend %q: %w", policy.NFTables, why)
}

// backendsOf returns the backends that entries name.
func backendsOf(entries []store.Entry) []policy.Backend {
	return backendsWhere(entries, func(*store.Entry) bool { return true })
}

// backendsWhere returns the backends of the entries of which something holds.
func backendsWhere(entries []store.Entry, holds func(*store.Entry) bool) []policy.Backend {
	var names []policy.Backend
	for i := range entries {
		if name := entries[i].Attachment.Backend; !slices.Contains(names, name) && holds(&entries[i]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// driversOf returns the drivers that hold the rules of entries.
func driversOf(entries []store.Entry) []policy.DriverName {
	var names []policy.DriverName
	for _, backend := range backendsOf(entries) {
		names = append(names, backend.Drivers()...)
	}
	return names
}

// backendOf returns the backend that the ADD chose which wrote the records of an
// attachment. A call that died while it changed the backend left two.
func backendOf(own []store.Entry, configured policy.Backend) policy.Backend {
	names := backendsOf(own)
	if len(names) == 0 || slices.Contains(names, configured) {
		return configured
	}
	return names[0]
}
