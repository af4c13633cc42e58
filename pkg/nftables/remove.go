// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Rollback brings the addresses and bridges of a rule set back to what the table
// held of them before Apply. With keepIsolation, isolation that was not there
// then stays: it should have been.
func (s *Snapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	var former []member
	for _, m := range absent(rs) {
		was, written := s.changed[memberKey{m.set, m.key}]
		if written && !(keepIsolation && s.hasIsolated(m)) {
			m.in = was
			former = append(former, m)
		}
	}
	if len(former) == 0 {
		return nil
	}
	if err := s.reread(); err != nil {
		return err
	}
	return s.make(func() (plan, error) { return s.without(former) })
}

// hasIsolated reports whether a member is of a bridge whose isolation was not
// there before Apply.
func (s *Snapshot) hasIsolated(m member) bool {
	if m.set != setIsolated && m.set != setSameBridge && m.set != setBlockedWithin {
		return false
	}
	was, written := s.changed[memberKey{setIsolated, m.key[:unix.IFNAMSIZ]}]
	return written && !was
}

// Remove takes a rule set's addresses and bridges out of the table, and the
// table with the last of them. What is not there is no error, nor is a table of
// somebody else's.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	if s.table == nil {
		return nil
	}
	return s.make(func() (plan, error) { return s.without(absent(rs)) })
}

// without returns the plan that makes members as they are wanted, and nothing
// else, unless nothing is left then.
func (s *Snapshot) without(all []member) (plan, error) {
	if !s.table.exists || s.table.foreign() {
		return plan{}, nil
	}
	if err := s.conn.find(s.table, all); err != nil {
		return plan{}, explained(err)
	}
	if err := s.listWhatDecides(all); err != nil {
		return plan{}, explained(err)
	}
	p := leaving(s.table, all)
	return p, p.err
}

// listWhatDecides lists the sets until one is found that keeps the table: most
// often the bridges', which are fewer than containers.
func (s *Snapshot) listWhatDecides(going []member) error {
	for _, l := range sets {
		if err := s.conn.list(s.table, l.name); err != nil {
			return err
		}
		if s.table.left(l.name, going) > 0 {
			return nil
		}
	}
	return nil
}
