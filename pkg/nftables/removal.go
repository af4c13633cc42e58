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
	return s.commit(func() (transaction, error) { return s.planRemoval(absentElements(rs)) })
}

// Rollback brings the addresses and bridges of a rule set back to what the table
// held of them before Apply. With keepIsolation, isolation that was not there
// then stays: it should have been.
func (s *Snapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	var former []element
	for _, m := range absentElements(rs) {
		was, written := s.previous[elementKey{m.set, m.key}]
		if written && !(keepIsolation && s.addedIsolation(m)) {
			m.present = was
			former = append(former, m)
		}
	}
	if len(former) == 0 {
		return nil
	}
	if err := s.reread(); err != nil {
		return err
	}
	return s.commit(func() (transaction, error) { return s.planRemoval(former) })
}

// addedIsolation reports whether a member is of a bridge whose isolation was not
// there before Apply.
func (s *Snapshot) addedIsolation(m element) bool {
	if m.set != setIsolated && m.set != setSameBridge && m.set != setBlockedWithin {
		return false
	}
	was, written := s.previous[elementKey{setIsolated, m.key[:unix.IFNAMSIZ]}]
	return written && !was
}

// planRemoval returns the plan that makes members as they are wanted, and nothing
// else, unless nothing is left then.
func (s *Snapshot) planRemoval(all []element) (transaction, error) {
	if !s.table.exists || s.table.isForeign() {
		return transaction{}, nil
	}
	if err := s.conn.lookUp(s.table, all); err != nil {
		return transaction{}, queryError(err)
	}
	if err := s.listUntilNonEmpty(all); err != nil {
		return transaction{}, queryError(err)
	}
	p := planRemoval(s.table, all)
	return p, p.err
}

// listUntilNonEmpty lists the sets until one is found that keeps the table: most
// often the bridges', which are fewer than containers.
func (s *Snapshot) listUntilNonEmpty(going []element) error {
	for _, l := range sets {
		if err := s.conn.listSet(s.table, l.name); err != nil {
			return err
		}
		if s.table.countAfter(l.name, going) > 0 {
			return nil
		}
	}
	return nil
}

// planRemoval returns the changes that make members as they are wanted, while others
// go: the table goes with the last one, unless the operator has something in it.
func planRemoval(t *table, all []element) transaction {
	var p transaction
	p.updateElements(t, all)
	if len(p.changes) > 0 && t.isEmptyAfter(all) && t.hasOnlyOwnObjects() {
		r := request{kind: unix.NFT_MSG_DELTABLE, attrs: attrString(unix.NFTA_TABLE_NAME, tableName), object: "table"}
		return transaction{changes: []change{{why: "the table is of no use any more", request: r}}}
	}
	return p
}

// isEmptyAfter reports whether no set will have an element. One that has not
// been listed may have.
func (t *table) isEmptyAfter(going []element) bool {
	for _, l := range sets {
		if s := t.sets[l.name]; s != nil && !s.listed || t.countAfter(l.name, going) > 0 {
			return false
		}
	}
	return true
}

// countAfter returns how many elements a set has, as far as it was asked, once members
// are as they are wanted.
func (t *table) countAfter(name string, all []element) int {
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
		case m.present && !t.has(m):
			n++
		case !m.present && t.has(m):
			n--
		}
	}
	return n
}

// hasOnlyOwnObjects reports whether there is nothing in the table but the layout, and
// chains of the operator's that are empty.
func (t *table) hasOnlyOwnObjects() bool {
	for name, c := range t.chains {
		if !isOwnChain(name) && (c.base || len(c.rules) > 0) {
			return false
		}
	}
	for name := range t.sets {
		if !slices.ContainsFunc(sets, func(l setLayout) bool { return l.name == name }) {
			return false
		}
	}
	return int(t.objects) == len(t.chains)+len(t.sets)+len(t.incompatible)
}
