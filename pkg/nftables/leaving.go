// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"golang.org/x/sys/unix"
)

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
