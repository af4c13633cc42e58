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
	if s.state == nil {
		return nil
	}
	return s.commit(func() (transaction, error) {
		absent := absentElements(rs)
		more, err := s.elementsOf(rs)
		if err != nil {
			return transaction{}, queryError(err)
		}
		absent.packets = append(absent.packets, more...)
		return s.planRemoval(absent)
	})
}

// Rollback gives the addresses and bridges of a rule set the elements that they
// had before Apply. With keepIsolation, isolation that Apply had to add stays: it
// was missing by mistake.
func (s *Snapshot) Rollback(rs policy.RuleSet, keepIsolation bool) error {
	all := absentElements(rs)
	before := elements{s.asBefore(all.packets, keepIsolation), s.asBefore(all.frames, keepIsolation)}
	if len(before.all()) == 0 {
		return nil
	}
	if err := s.reread(); err != nil {
		return err
	}
	return s.commit(func() (transaction, error) { return s.planRemoval(before) })
}

// asBefore returns those of some elements that Apply wrote, as they were before.
func (s *Snapshot) asBefore(all []element, keepIsolation bool) []element {
	var before []element
	for _, e := range all {
		present, written := s.previous[e.id()]
		if written && !(keepIsolation && s.addedIsolation(e)) {
			e.present = present
			before = append(before, e)
		}
	}
	return before
}

// elementsOf returns the elements of addresses whose interfaces a rule set does not
// tell, as absent.
func (s *Snapshot) elementsOf(rs policy.RuleSet) ([]element, error) {
	var found []element
	for _, p := range rs.Addresses {
		if len(rs.Inbound[p]) > 0 || s.packets.sets[addressSet(p)] == nil {
			continue
		}
		if err := s.conn.listSet(s.packets, addressSet(p)); err != nil {
			return nil, err
		}
		for key, there := range s.packets.sets[addressSet(p)].elements {
			if there && key[min(len(key), unix.IFNAMSIZ):] == addressKey(p) {
				found = append(found, element{set: addressSet(p), key: key})
			}
		}
	}
	return found, nil
}

// addedIsolation reports whether an element isolates a bridge that was not
// isolated before Apply.
func (s *Snapshot) addedIsolation(e element) bool {
	switch e.set {
	case setIsolated, setSameBridge, setBlockedWithin, setStrict, chainForged:
		present, written := s.previous[elementKey{setIsolated, e.key[:unix.IFNAMSIZ]}]
		return written && !present
	}
	return false
}

// planRemoval reads the elements in the tables, and whether others keep these. It
// returns the transaction that makes the elements as they must be.
func (s *Snapshot) planRemoval(wanted elements) (transaction, error) {
	var both transaction
	for _, part := range []struct {
		table    *table
		elements []element
	}{{s.packets, wanted.packets}, {s.frames, wanted.frames}} {
		t := part.table
		if !t.exists || t.isForeign() {
			continue
		}
		err := s.conn.lookUp(t, part.elements)
		if err == nil {
			err = s.conn.listUntilNonEmpty(t, part.elements)
		}
		if err != nil {
			return transaction{}, queryError(err)
		}
		both.join(t, planRemoval(t, part.elements))
	}
	return both, nil
}

// listUntilNonEmpty lists the sets up to the first that keeps an element, and
// with it the table. That is most often the first: the sets of bridges come
// first, and there are fewer bridges than containers.
func (c *conn) listUntilNonEmpty(t *table, elements []element) error {
	for _, l := range t.tableLayout.ownSets() {
		if err := c.listSet(t, l.name); err != nil {
			return err
		}
		if t.countAfter(elements, l.name) > 0 {
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
	if t.isEmptyAfter(elements) && t.hasOnlyOwnObjects() {
		return transaction{changes: []change{{why: "the table is not used any more", request: deleteTable()}}}
	}
	return tx
}

// isEmptyAfter reports whether no set has an element left after a change. A set
// that was not listed may have some.
func (t *table) isEmptyAfter(elements []element) bool {
	for _, l := range t.tableLayout.ownSets() {
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
		if !t.isOwnChain(name) && (c.base || len(c.rules) > 0) {
			return false
		}
	}
	for name := range t.sets {
		if _, own := t.setLayoutOf(name); !own {
			return false
		}
	}
	return int(t.objects) == len(t.chains)+len(t.sets)+len(t.incompatible)
}
