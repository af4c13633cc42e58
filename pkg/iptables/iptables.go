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
	"fmt"
	"maps"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the tables held when they were read. Its methods expect that no
// other call of this plugin writes meanwhile; that other programs do is taken
// care of.
type Snapshot struct {
	families map[policy.Family]*family
}

// family is one address family's programs and table.
type family struct {
	name policy.Family
	programs
	table  *table
	before *table // what it was before the first write; nil while there was none
}

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
		if _, err := find(name); err != nil {
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
		if f.programs, err = find(f.name); err != nil {
			return err
		}
		return f.read()
	})
	maps.DeleteFunc(s.families, func(_ policy.Family, f *family) bool { return f.table == nil })
	return s, err
}

// Families returns the families whose tables were read.
func (s *Snapshot) Families() policy.Families {
	var families policy.Families
	for name := range s.families {
		families = families.With(name)
	}
	return families
}

// each works on all families at once.
func (s *Snapshot) each(do func(*family) error) error {
	var wg sync.WaitGroup
	var errs [2]error
	for _, f := range s.families {
		wg.Go(func() {
			if err := do(f); err != nil {
				errs[f.name-policy.IPv4] = fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// Check returns an error that names the first thing in which the tables differ
// from a rule set.
func (s *Snapshot) Check(rs policy.RuleSet) error { return s.check(rs, false) }

// CheckForeign is Check for what another plugin wrote: rules of a bridge that
// contradict the rule set are none of its business.
func (s *Snapshot) CheckForeign(rs policy.RuleSet) error { return s.check(rs, true) }

func (s *Snapshot) check(rs policy.RuleSet, tolerant bool) error {
	for _, name := range rs.Families().List() {
		f := s.families[name]
		if f == nil {
			return fmt.Errorf("%s: the table was not read", name)
		}
		for _, c := range missing(f.table, rs.In(name)) {
			if c.why != "" && !(tolerant && c.op == remove) {
				return c.difference(name)
			}
		}
	}
	return nil
}

// DropsSameBridge reports whether a bridge's containers are kept apart by a
// rule: whether its policy was isolated until now.
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	for _, f := range s.families {
		if f.table.count(chainStage1, dropSameBridge(bridge)) > 0 {
			return true
		}
	}
	return false
}

// Apply makes the tables hold a rule set, isolation and what is forwarded in one
// transaction a family, whatever the call is about: all of a family's rules were
// read. After an error, Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, _ []string) error {
	return s.each(func(f *family) error {
		return f.make(func(t *table) plan { return missing(t, rs.In(f.name)) })
	})
}

// Rollback brings the addresses and bridges of a rule set back to what the tables
// held of them before Apply. With keepIsolation, isolation that was not there
// then stays: it should have been.
func (s *Snapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	return s.each(func(f *family) error {
		if f.before == nil {
			return nil
		}
		if err := f.read(); err != nil {
			return err
		}
		before := f.before
		return f.make(func(now *table) plan { return undo(before, now, rs, keepIsolation) })
	})
}

// Remove takes a rule set's addresses and bridges out of the tables that were
// read. What is not there is no error.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	return s.each(func(f *family) error {
		return f.make(func(t *table) plan { return present(t, rs.In(f.name)) })
	})
}

// Obstacles returns none. What drops behind an accept of iptables is not looked for.
func (s *Snapshot) Obstacles() policy.Obstacles { return policy.Obstacles{} }

// Leftovers returns nil: rules are known by what they say, and none is left.
func (s *Snapshot) Leftovers() error { return nil }
