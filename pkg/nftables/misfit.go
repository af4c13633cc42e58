// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"cmp"
	"slices"
)

// String says what is wrong with the misfit.
func (m misfit) String() string {
	if m.isSet {
		return "set " + m.name + " has another type, or is of another layout"
	}
	return "chain " + m.name + " has another hook, priority or policy, or is of another layout"
}

// partMisfits parts the misfits from the chains and sets.
func (t *table) partMisfits() {
	for name, s := range t.sets {
		i := slices.IndexFunc(sets, func(l setLayout) bool { return l.name == name })
		if i < 0 && s.marked || i >= 0 && !sets[i].is(s) {
			t.misfits = append(t.misfits, misfit{true, name})
			delete(t.sets, name)
		}
	}
	for name, c := range t.chains {
		i := slices.IndexFunc(chains, func(l chainLayout) bool { return l.name == name })
		if i < 0 && c.marked || i >= 0 && !chains[i].is(c) {
			t.misfits = append(t.misfits, misfit{false, name})
			delete(t.chains, name)
		}
	}
	slices.SortFunc(t.misfits, func(a, b misfit) int { return cmp.Compare(a.name, b.name) })
}

// nftSetConcat is NFT_SET_CONCAT, which a kernel may show of a pair.
const nftSetConcat = 0x80

func (l setLayout) is(s *set) bool {
	return s.keyType == l.keyType && s.keyLength == l.keyLength && s.flags&^nftSetConcat == 0
}

func (l chainLayout) is(c *chain) bool {
	if l.priority == nil {
		return !c.base
	}
	return c.base && c.hook == nfForward && c.priority == *l.priority && !c.drops
}
