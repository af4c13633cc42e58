// SPDX-License-Identifier: Apache-2.0

// Package iptables keeps the rule set in the filter tables of iptables and
// ip6tables, in the variant (nf_tables or legacy) that PATH gives.
//
// The traffic meant is what the host forwards between its interfaces: the rules
// hang on FORWARD. Published ports, which are exempt from the isolation, come
// first; then the isolation, whose jump stands ahead of the one to CNI-FORWARD, for
// an ACCEPT there would end the packet's way before it was looked at. The
// operator's chain stands ahead of everything accepted.
//
// Each call reads a family's table once, compares in memory, and writes what is
// missing in one transaction, or nothing. Adding is quick; with
// iptables-nft every deletion waits some milliseconds for the kernel.
package iptables

import (
	"errors"
	"maps"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Driver keeps rule sets in the filter tables of the network namespace in which the
// process is.
type Driver struct{}

var _ policy.Driver = Driver{}

// Installed is the function of that name.
func (Driver) Installed(f policy.Families) (policy.Families, error) { return Installed(f) }

// Read is the function of that name.
func (Driver) Read(f policy.Families) (policy.Snapshot, error) { return Read(f) }

// Installed returns those of the families whose programs are in PATH, and an
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

// Read reads the tables of families. With an error, which wraps ErrNotInstalled
// where a family's programs are not in PATH, the Snapshot has the other families.
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
