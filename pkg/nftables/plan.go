// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// planApply returns the changes that make the table hold its layout, the jumps to
// the operator's chains, and members as they must be. Additions cost nothing,
// but every deletion makes the kernel wait for all packets under way, so that
// only what is wrong is deleted.
func planApply(t *table, adminChains []string, all []element) transaction {
	var p transaction
	if !t.exists {
		p.add("the table is missing", newTable())
	}
	if t.dormant {
		p.add("the table is dormant", newTable())
		return p // the kernel takes no chain on a hook with it; what else is wrong is seen when it is awake
	}
	p.deleteIncompatible(t)
	for _, l := range sets {
		if t.sets[l.name] == nil {
			p.add("set "+l.name+" is missing", l.create())
		}
	}
	p.updateChains(t, adminChains)
	p.updateElements(t, all)
	return p
}

// deleteIncompatible deletes misfits, and ahead of them all chains of the plugin's, for a rule
// that refers to what is deleted goes first. What sets hold stays.
func (p *transaction) deleteIncompatible(t *table) {
	if len(t.incompatible) == 0 {
		return
	}
	why := t.incompatible[0].String()
	var names []string
	for _, m := range t.incompatible {
		if !m.isSet {
			names = append(names, m.name)
		}
	}
	for _, l := range chains {
		if t.chains[l.name] != nil {
			names = append(names, l.name)
		}
	}
	for _, name := range names {
		p.add(why, flush(name))
	}
	for _, name := range names {
		p.add(why, deleteChain(name))
	}
	for _, m := range t.incompatible {
		if m.isSet {
			p.add(why, deleteSet(m.name))
		}
	}
}

// updateChains makes the chains hold exactly their rules. In the chain forward
// the jumps to the operators' chains come first, in any order.
func (p *transaction) updateChains(t *table, adminChains []string) {
	for _, name := range adminChains {
		if isOwnChain(name) {
			p.err = fmt.Errorf("iptablesAdminChainName %q is a chain of the plugin's own in table inet %s", name, tableName)
		}
		if t.chains[name] == nil {
			p.add("chain "+name+" is missing", chainLayout{name: name, comment: commentAdmin}.create(""))
		}
	}
	for _, l := range chains {
		seen := t.chains[l.name]
		if seen == nil || len(t.incompatible) > 0 {
			p.add("chain "+l.name+" is missing", l.create(mark+": "))
			seen = &chain{}
		}
		var ahead []rule
		if l.name == chainForward {
			ahead = t.adminJumps(adminChains)
		}
		p.updateRules(l, seen, ahead)
	}
}

// adminJumps returns the jumps to the operators' chains: those that are there,
// and those that must be.
func (t *table) adminJumps(adminChains []string) []rule {
	var jumps []rule
	names := slices.Clone(adminChains)
	if c := t.chains[chainForward]; c != nil {
		for _, seen := range c.rules {
			for name, to := range t.chains {
				if !to.base && !isOwnChain(name) && !to.marked && jumpTo(name).equals(seen) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		jumps = append(jumps, jumpTo(name))
	}
	return jumps
}

// updateRules makes a chain hold its rules and no others. What is missing at its end is
// added; else it is written anew.
func (p *transaction) updateRules(l chainLayout, seen *chain, ahead []rule) {
	want := append(slices.Clone(ahead), l.rules...)
	have := 0
	for ; have < len(seen.rules) && have < len(want); have++ {
		i := slices.IndexFunc(want[have:max(len(ahead), have+1)], func(r rule) bool { return r.equals(seen.rules[have]) })
		if i < 0 {
			break
		}
		want[have], want[have+i] = want[have+i], want[have]
	}
	if have < len(seen.rules) {
		why := fmt.Sprintf("chain %s has a rule of somebody else's at its end", l.name)
		if have < len(want) {
			why = fmt.Sprintf("chain %s: rule %d is missing or another one: %s", l.name, have+1, want[have].text)
		}
		p.add(why, flush(l.name))
		have = 0
	}
	for n, r := range want[have:] {
		request, err := r.encode(l.name)
		if err != nil {
			p.err = err
		}
		p.add(fmt.Sprintf("chain %s: rule %d is missing: %s", l.name, have+n+1, r.text), request)
	}
}

// updateElements adds and deletes elements.
func (p *transaction) updateElements(t *table, all []element) {
	for _, m := range all {
		there := t.has(m)
		switch {
		case m.present && !there:
			r := request{kind: unix.NFT_MSG_NEWSETELEM, flags: unix.NLM_F_CREATE, attrs: elementList(m.set, m.encode(true)), object: m.object()}
			p.changes = append(p.changes, change{"set " + m.set + " lacks " + m.String(), r, m})
		case !m.present && there:
			r := request{kind: unix.NFT_MSG_DELSETELEM, attrs: elementList(m.set, m.encode(false)), object: m.object()}
			p.changes = append(p.changes, change{"set " + m.set + " has " + m.String() + ", which contradicts the configuration", r, m})
		}
	}
}
