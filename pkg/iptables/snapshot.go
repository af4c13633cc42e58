// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the tables held when they were read. The store's lock keeps other
// calls of this plugin from writing meanwhile. Other programs may write at any time:
// a plan that they spoil is made again.
type Snapshot struct {
	families map[policy.Family]*family

	kernel     Kernel // nil where nobody is asked
	generation uint32 // of nf_tables, before the tables were read; 0 if it is not known
	leftovers  error
}

// Families returns the families whose tables were read.
func (s *Snapshot) Families() policy.Families {
	var families policy.Families
	for name := range s.families {
		families = families.With(name)
	}
	return families
}

// each works on all families at once and joins their errors, IPv4 first.
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

// Check returns an error that names the first difference from a rule set.
func (s *Snapshot) Check(rs policy.RuleSet) error { return s.check(rs, false) }

// CheckForeign is Check for rules that upstream's plugin wrote. It leaves rules of a
// bridge behind that contradict the rule set; they are no difference.
func (s *Snapshot) CheckForeign(rs policy.RuleSet) error { return s.check(rs, true) }

func (s *Snapshot) check(rs policy.RuleSet, foreign bool) error {
	for _, name := range rs.Families().List() {
		f := s.families[name]
		if f == nil {
			return fmt.Errorf("%s: the filter table was not read", name)
		}
		for _, c := range planApply(f.table, name, rs) {
			if c.reason != "" && !(foreign && c.op == deleteRule) {
				return c.difference(name)
			}
		}
	}
	return nil
}

// Guarded returns nothing: a rule of iptables guards no addresses.
func (s *Snapshot) Guarded() []string { return nil }

// DropsSameBridge reports whether a rule keeps the containers of a bridge apart:
// whether its policy was isolated until now.
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	for _, f := range s.families {
		if f.table.count(chainStage1, dropSameBridge(bridge)) > 0 {
			return true
		}
	}
	return false
}

// Apply makes the tables hold a rule set, whatever bridges the call is about. One
// transaction a family adds both isolation and accepts, so that no packet is
// accepted before it is isolated. After an error, Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, _ []string) error {
	return s.each(func(f *family) error {
		err := f.apply(func(t *table) plan { return planApply(t, f.name, rs) })
		f.isFirst = err == nil
		return err
	})
}

// Rollback gives the bridges and addresses of a rule set back the rules that they
// had before Apply. With keepIsolation, isolation that Apply had to add stays: it
// was missing.
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

// Remove deletes the rules of a rule set's bridges and addresses from the tables
// that were read, and from those of the other variant. Rules that are not there are no
// error.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	var err error
	if !s.removedAtOnce(rs) {
		err = s.each(func(f *family) error {
			return f.apply(func(t *table) plan { return planRemove(t, rs.In(f.name)) })
		})
	}
	found, missing := s.formers()
	if errors.Is(missing, ErrNotInstalled) {
		s.leftovers, missing = missing, nil // to repeat the call is no use
	}
	return errors.Join(err, missing, removeFromFormers(found, rs))
}

// Obstacles names the rules that stand ahead of the isolation and may let packets between
// isolated bridges by. The driver does not look for what drops a packet after an accept
// of iptables.
func (s *Snapshot) Obstacles() policy.Obstacles {
	var errs []error
	for _, name := range s.Families().List() {
		f := s.families[name]
		if f.isFirst {
			continue
		}
		for _, r := range newBypass(f.table, nil).found() {
			errs = append(errs, fmt.Errorf("%s: rule %s in FORWARD stands ahead of the isolation "+
				"and may let its packets by", name, r))
		}
	}
	return policy.Obstacles{Possible: errors.Join(errs...)}
}

// Ready returns nil: the programs were run, and name themselves what they lack.
func (s *Snapshot) Ready(policy.IngressPolicy) error { return nil }

// Leftovers names what Remove left in the other variant, whose program is not there. Else a
// rule is known by its text, and none is left.
func (s *Snapshot) Leftovers() error { return s.leftovers }
