// SPDX-License-Identifier: Apache-2.0

// Package iptables keeps the rule set in the filter tables of iptables and
// ip6tables, in the variant (nf_tables or legacy) that PATH leads to. What it left in the
// other one, before the host's alternative was switched, it removes: see former.go.
//
// The rules are about traffic that the host forwards between its interfaces: they
// hang on the chain FORWARD. Published ports come first, because they are exempt
// from the isolation; without the nftables table beside, the isolation comes first. Its
// jump stands ahead of the jump to CNI-FORWARD, where an ACCEPT would end the packet's
// way before any isolation. The operator's chain stands ahead of everything accepted.
//
// A call reads the table of a family once, compares it in memory, and writes what is
// missing in one transaction, or nothing. Additions are quick. After a deletion from
// iptables-nft the kernel has a program wait some milliseconds, so that a removal is done
// without one: see at_once.go.
package iptables

import (
	"errors"
	"maps"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Driver keeps rule sets in the filter tables of the process's network namespace.
type Driver struct {
	Kernel Kernel // nil asks it nothing
}

// Kernel is what the driver asks of the kernel without a program.
type Kernel interface {
	// HasChain reports whether the filter table of a variant, "nft" or "legacy", has one of
	// some chains.
	HasChain(f policy.Family, variant string, chains []string) (bool, error)

	// Generation returns the number of nf_tables' last change, or 0.
	Generation() (uint32, error)

	// DeleteRules deletes rules of iptables-nft, and then chains: all of them at once, or
	// nothing, and nothing unless all tables are as they were at a generation.
	DeleteRules(generation uint32, deletions []policy.Deletion) error
}

var _ policy.Driver = Driver{}

// Installed calls the function of that name.
func (Driver) Installed(f policy.Families) (policy.Families, error) { return Installed(f) }

// Read calls the function of that name.
func (d Driver) Read(f policy.Families) (policy.Snapshot, error) {
	generation := d.generation()
	s, err := Read(f)
	s.kernel, s.generation = d.Kernel, generation
	return s, err
}

// generation returns 0 where it cannot be known: then the programs delete.
func (d Driver) generation() uint32 {
	if d.Kernel == nil {
		return 0
	}
	n, err := d.Kernel.Generation()
	if err != nil {
		return 0
	}
	return n
}

// MayIsolate reports whether there are programs, and a table with one of the chains in
// which this plugin or another one isolates and accepts. What cannot be asked may.
func (d Driver) MayIsolate() bool {
	installed, _ := Installed(policy.BothFamilies)
	for _, f := range installed.List() {
		for variant := range otherVariant {
			if d.Kernel == nil {
				return true
			}
			if has, err := d.Kernel.HasChain(f, variant, policy.PluginChains); has || err != nil {
				return true
			}
		}
	}
	return false
}

// Installed returns the families whose programs are in PATH or in UsualDirectories, and an
// error that names the programs of the others.
func Installed(families policy.Families) (policy.Families, error) {
	var installed policy.Families
	var errs []error
	for _, name := range families.List() {
		if _, err := findPrograms(name); err != nil {
			errs = append(errs, err)
			continue
		}
		installed = installed.With(name)
	}
	return installed, errors.Join(errs...)
}

// Read reads the tables of families. After an error the Snapshot has the families
// that could be read. The error wraps ErrNotInstalled where a family's programs are
// missing, and ErrUnusable where they do not work.
func Read(families policy.Families) (*Snapshot, error) {
	s := &Snapshot{families: map[policy.Family]*family{}}
	for _, name := range families.List() {
		s.families[name] = &family{name: name}
	}
	err := s.each(func(f *family) (err error) {
		if f.programs, err = findPrograms(f.name); err != nil {
			return err
		}
		return f.read()
	})
	maps.DeleteFunc(s.families, func(_ policy.Family, f *family) bool { return f.table == nil })
	return s, err
}
