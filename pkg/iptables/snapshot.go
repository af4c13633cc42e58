// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the tables held when they were read. Its methods expect that no
// other call of this plugin writes meanwhile; that other programs do is taken
// care of.
type Snapshot struct {
	families map[policy.Family]*family
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
		for _, c := range planApply(f.table, rs.In(name)) {
			if c.reason != "" && !(tolerant && c.op == deleteRule) {
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
		return f.apply(func(t *table) plan { return planApply(t, rs.In(f.name)) })
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
		return f.apply(func(now *table) plan { return planRollback(before, now, rs, keepIsolation) })
	})
}

// Remove takes a rule set's addresses and bridges out of the tables that were
// read. What is not there is no error.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	return s.each(func(f *family) error {
		return f.apply(func(t *table) plan { return planRemove(t, rs.In(f.name)) })
	})
}

// Obstacles returns none. What drops behind an accept of iptables is not looked for.
func (s *Snapshot) Obstacles() policy.Obstacles { return policy.Obstacles{} }

// Leftovers returns nil: rules are known by what they say, and none is left.
func (s *Snapshot) Leftovers() error { return nil }
