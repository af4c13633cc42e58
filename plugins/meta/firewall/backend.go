// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// place is where rule sets are kept in the kernel, by one means.
type place interface {
	// installed returns those of the families that the host has the means for,
	// and an error that names what the others lack.
	installed(policy.Families) (policy.Families, error)

	// read reads what the kernel holds for families. With an error, the tables
	// are those of the families that could be read.
	read(policy.Families) (tables, error)
}

// tables is what the kernel held in one place when it was read.
type tables interface {
	Families() policy.Families

	// Check returns an error that names the first thing in which they differ from
	// a rule set.
	Check(policy.RuleSet) error

	// DropsSameBridge reports whether the containers of a bridge are kept apart by
	// a rule.
	DropsSameBridge(bridge string) bool

	Apply(policy.RuleSet) error
	Undo(rs policy.RuleSet, keepIsolation bool) error
	Remove(policy.RuleSet) error
}

// The backends, by the name they have in a conflist and in records.
const (
	backendIPTables  = "iptables"
	backendNFTables  = "nftables"
	backendFirewalld = "firewalld"
)

// The places, by name.
const (
	placeIPTables = "iptables"
	placeNFTables = "nftables"
	placeZones    = "firewalld"
)

// placesOf returns where a backend keeps rules: first where it isolates. firewalld
// forgets what it was told at every reload, so that all is in the table, too. A
// record may name a backend that this version has not; then there is no such
// place.
func placesOf(backend string) []string {
	if backend == backendFirewalld {
		return []string{placeNFTables, placeZones}
	}
	return []string{backend}
}

// choose returns the backend for a network that names none. A host that has a
// part of iptables is one that uses it, and learns what is missing. An error says
// that firewalld runs and does not answer: what is set beside it, it may flush.
func (p plugin) choose() (string, error) {
	switch _, err := p.places[placeZones].read(policy.BothFamilies); {
	case err == nil:
		return backendFirewalld, nil
	case errors.Is(err, firewalld.ErrNotRunning):
	case absent(err):
		p.warn(fmt.Errorf("going on without firewalld: %w", err))
	default:
		return "", err
	}
	if installed, _ := iptables.Installed(policy.BothFamilies); installed != 0 {
		return backendIPTables, nil
	}
	return backendNFTables, nil
}

// overruled returns an error that says which tables of other programs' drop what
// a backend accepts.
func (h held) overruled(backend string) error {
	var errs []error
	for _, name := range placesOf(backend) {
		if t, is := h[name].(interface{ Overruled() error }); is {
			errs = append(errs, t.Overruled())
		}
	}
	return errors.Join(errs...)
}

// strict returns an error where published ports do not pass because the operator
// wants them to be let through one by one.
func (h held) strict(backend string) error {
	if !slices.Contains(placesOf(backend), placeZones) {
		return nil
	}
	if s, is := h[placeZones].(*firewalld.Sources); is {
		return s.Strict()
	}
	return nil
}

// held is what the kernel holds, by place.
type held map[string]tables

// read reads one place's tables of families, of which some are needed: an
// address has no rules without them. The others are those of other attachments
// and of bridges; a host that has no use for a family often has no tool for it,
// or no tables.
func (p plugin) read(name string, families, needed policy.Families) (tables, error) {
	at, known := p.places[name]
	if !known {
		return nil, fmt.Errorf("the backend %q of a record is unknown to this version", name)
	}
	installed, _ := at.installed(families)
	t, err := at.read(installed)
	if lacks := needed &^ t.Families(); lacks != 0 {
		_, missing := at.installed(lacks)
		return t, errors.Join(missing, err)
	}
	p.warn(err)
	return t, nil
}

// readAll reads what rule sets are about. A place that is not needed is read as
// far as it can be.
func (p plugin) readAll(sets map[string]policy.RuleSet, needed map[string]policy.Families) (held, error) {
	h := held{}
	var errs []error
	for name, rs := range sets {
		t, err := p.read(name, rs.Families(), needed[name])
		if t != nil {
			h[name] = t
		}
		if _, isNeeded := needed[name]; isNeeded {
			errs = append(errs, err)
		} else {
			p.warn(err)
		}
	}
	return h, errors.Join(errs...)
}

// neededFor needs families in the places of a backend.
func neededFor(backend string, f policy.Families) map[string]policy.Families {
	needed := map[string]policy.Families{}
	for _, name := range placesOf(backend) {
		needed[name] = f
	}
	return needed
}

// wholly needs the families of all rule sets.
func wholly(sets map[string]policy.RuleSet) map[string]policy.Families {
	needed := map[string]policy.Families{}
	for name, rs := range sets {
		needed[name] = rs.Families()
	}
	return needed
}

// check returns an error that names the first thing which the kernel does not
// hold as the rule sets say.
func (h held) check(sets map[string]policy.RuleSet) error {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if err := h[name].Check(sets[name]); err != nil {
			return err
		}
	}
	return nil
}

// backendsOf returns the backends that entries name.
func backendsOf(entries []store.Entry) []string {
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Attachment.Backend] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// placesOfAll returns the places in which the backends of entries keep rules.
func placesOfAll(entries []store.Entry) []string {
	var names []string
	for _, backend := range backendsOf(entries) {
		names = append(names, placesOf(backend)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
