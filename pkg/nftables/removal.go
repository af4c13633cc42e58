// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Remove removes the addresses and bridges of a rule set from the table, and the
// table with the last of them. It is no error if something is not there, or if
// the table belongs to another program.
func (s *Snapshot) Remove(rs policy.RuleSet) error {
	if s.table == nil {
		return nil
	}
	return s.commit(func() (transaction, error) { return s.planRemoval(absentElements(rs)) })
}

// Rollback gives the addresses and bridges of a rule set the elements that they
// had before Apply. With keepIsolation, isolation that Apply had to add stays: it
// was missing by mistake.
func (s *Snapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	var elements []element
	for _, e := range absentElements(rs) {
		present, written := s.previous[e.id()]
		if written && !(keepIsolation && s.addedIsolation(e)) {
			e.present = present
			elements = append(elements, e)
		}
	}
	if len(elements) == 0 {
		return nil
	}
	if err := s.reread(); err != nil {
		return err
	}
	return s.commit(func() (transaction, error) { return s.planRemoval(elements) })
}

// addedIsolation reports whether an element isolates a bridge that was not
// isolated before Apply.
func (s *Snapshot) addedIsolation(e element) bool {
	switch e.set {
	case setIsolated, setSameBridge, setBlockedWithin:
		present, written := s.previous[elementKey{setIsolated, e.key[:unix.IFNAMSIZ]}]
		return written && !present
	}
	return false
}

// planRemoval reads the elements in the table, and whether others keep it. It
// returns the transaction that makes the elements as they must be.
func (s *Snapshot) planRemoval(elements []element) (transaction, error) {
	if !s.table.exists || s.table.isForeign() {
		return transaction{}, nil
	}
	if err := s.conn.lookUp(s.table, elements); err != nil {
		return transaction{}, queryError(err)
	}
	if err := s.listUntilNonEmpty(elements); err != nil {
		return transaction{}, queryError(err)
	}
	return planRemoval(s.table, elements), nil
}

// listUntilNonEmpty lists the sets up to the first that keeps an element, and
// with it the table. That is most often the first: the sets of bridges come
// first, and there are fewer bridges than containers.
func (s *Snapshot) listUntilNonEmpty(elements []element) error {
	for _, l := range sets {
		if err := s.conn.listSet(s.table, l.name); err != nil {
			return err
		}
		if s.table.countAfter(elements, l.name) > 0 {
			return nil
		}
	}
	return nil
}

// planRemoval returns the transaction that makes elements present or absent. If
// no element is left, it deletes the table instead, unless the operator has
// something in it.
func planRemoval(t *table, elements []element) transaction {
	var tx transaction
	tx.updateElements(t, elements)
	if len(tx.changes) > 0 && t.isEmptyAfter(elements) && t.hasOnlyOwnObjects() {
		return transaction{changes: []change{{why: "the table is not used any more", request: deleteTable()}}}
	}
	return tx
}

// isEmptyAfter reports whether no set has an element left after a change. A set
// that was not listed may have some.
func (t *table) isEmptyAfter(elements []element) bool {
	for _, l := range sets {
		if s := t.sets[l.name]; s != nil && !s.listed || t.countAfter(elements, l.name) > 0 {
			return false
		}
	}
	return true
}

// countAfter returns how many elements a set has after a change, as far as they
// are known.
func (t *table) countAfter(elements []element, name string) int {
	n := t.sets[name].count()
	for _, e := range elements {
		switch {
		case e.set != name || !t.differs(e):
		case e.present:
			n++
		default:
			n--
		}
	}
	return n
}

// hasOnlyOwnObjects reports whether the table has nothing but the layout and the
// operator's chains, and these are empty.
func (t *table) hasOnlyOwnObjects() bool {
	for name, c := range t.chains {
		if !isOwnChain(name) && (c.base || len(c.rules) > 0) {
			return false
		}
	}
	for name := range t.sets {
		if _, own := setLayoutOf(name); !own {
			return false
		}
	}
	return int(t.objects) == len(t.chains)+len(t.sets)+len(t.incompatible)
}
