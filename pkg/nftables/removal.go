// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Remove takes a rule set's addresses and bridges out of the table, and the
// table with the last of them. What is not there is no error, nor is a table of
// somebody else's.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	if s.table == nil {
		return nil
	}
	return s.make(func() (plan, error) { return s.without(absent(rs)) })
}

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

// leaving returns the changes that make members as they are wanted, while others
// go: the table goes with the last one, unless the operator has something in it.
func leaving(t *table, all []member) plan {
	var p plan
	p.members(t, all)
	if len(p.changes) > 0 && t.isEmptyWithout(all) && t.nobodysElse() {
		r := request{kind: unix.NFT_MSG_DELTABLE, attrs: attrString(unix.NFTA_TABLE_NAME, tableName), what: "table"}
		return plan{changes: []change{{why: "the table is of no use any more", request: r}}}
	}
	return p
}

// isEmptyWithout reports whether no set will have an element. One that has not
// been listed may have.
func (t *table) isEmptyWithout(going []member) bool {
	for _, l := range sets {
		if s := t.sets[l.name]; s != nil && !s.complete || t.left(l.name, going) > 0 {
			return false
		}
	}
	return true
}

// left returns how many elements a set has, as far as it was asked, once members
// are as they are wanted.
func (t *table) left(name string, all []member) int {
	n := 0
	if s := t.sets[name]; s != nil {
		for _, there := range s.elements {
			if there {
				n++
			}
		}
	}
	for _, m := range all {
		switch {
		case m.set != name:
		case m.in && !t.has(m):
			n++
		case !m.in && t.has(m):
			n--
		}
	}
	return n
}

// nobodysElse reports whether there is nothing in the table but the layout, and
// chains of the operator's that are empty.
func (t *table) nobodysElse() bool {
	for name, c := range t.chains {
		if !isChain(name) && (c.base || len(c.rules) > 0) {
			return false
		}
	}
	for name := range t.sets {
		if !slices.ContainsFunc(sets, func(l setLayout) bool { return l.name == name }) {
			return false
		}
	}
	return int(t.objects) == len(t.chains)+len(t.sets)+len(t.misfits)
}
