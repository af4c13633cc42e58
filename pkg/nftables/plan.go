// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// planApply reads the elements in the tables, and returns the transaction that makes
// them as they must be.
func (s *Snapshot) planApply(adminChains []string, desired elements) (transaction, error) {
	var both transaction
	for _, part := range []struct {
		table    *table
		admin    []string
		elements []element
	}{
		{s.packets, adminChains, desired.packets},
		{s.frames, nil, desired.frames},
	} {
		if part.table == s.frames && len(part.elements) == 0 {
			continue // there may be a table of another program
		}
		if part.table.isForeign() {
			return transaction{}, Foreign{part.table.familyName}
		}
		if err := s.conn.lookUp(part.table, part.elements); err != nil {
			return transaction{}, queryError(err)
		}
		tx := planApply(part.table, part.admin, part.elements)
		if tx.err != nil {
			return transaction{}, tx.err
		}
		both.join(part.table, tx)
	}
	return both, nil
}

// planApply returns the transaction that makes the table hold its layout, the
// jumps to the operator's chains, and elements as they must be. It deletes only
// what is wrong. An addition costs nothing; after a deletion the kernel waits for
// an RCU grace period, until the packets under way have passed.
func planApply(t *table, adminChains []string, elements []element) transaction {
	var tx transaction
	if !t.exists && !isWanted(adminChains, elements) {
		return tx
	}
	if !t.exists {
		tx.add("the table is missing", createTable())
	}
	if t.dormant {
		// The kernel refuses a base chain in the transaction that wakes a table.
		// All else is planned once it is awake.
		tx.add("the table is dormant", createTable())
		return tx
	}
	tx.deleteIncompatible(t)
	for i, l := range t.tableLayout.sets {
		if t.sets[l.name] == nil {
			tx.add("set "+l.name+" is missing", l.create(i+1))
		}
	}
	tx.updateAdminChains(t, adminChains)
	tx.updateChains(t, adminChains, elements)
	tx.updateElements(t, elements)
	return tx
}

// planReady returns the transaction that would make the tables that are missing, for a
// network with a policy.
func (s *Snapshot) planReady(p policy.IngressPolicy) (transaction, error) {
	tables := []*table{s.packets}
	if p.Separates() {
		tables = s.tables()
	}
	var tx transaction
	for _, t := range tables {
		if t.isForeign() {
			return transaction{}, Foreign{t.familyName}
		}
		if t.exists {
			continue
		}
		some := element{set: t.tableLayout.sets[0].name, key: interfaceKey("lo"), present: true}
		tx.join(t, planApply(t, nil, []element{some}))
	}
	return tx, nil
}

// isWanted reports whether a table that does not exist has to.
func isWanted(adminChains []string, elements []element) bool {
	return len(adminChains) > 0 || slices.ContainsFunc(elements, func(e element) bool { return e.present })
}

// deleteIncompatible deletes the incompatible chains and sets. Ahead of them it
// deletes all chains of the plugin: the kernel deletes nothing that a rule refers
// to. The elements of the other sets stay.
func (tx *transaction) deleteIncompatible(t *table) {
	if len(t.incompatible) == 0 {
		return
	}
	why := t.incompatible[0].String()
	names := t.chainsToDelete()
	for _, name := range names {
		tx.add(why, flushChain(name))
	}
	for _, name := range names {
		tx.add(why, deleteChain(name))
	}
	for _, i := range t.incompatible {
		if i.isSet {
			tx.add(why, deleteSet(i.name))
		}
	}
}

// chainsToDelete returns the incompatible chains, and all compatible ones of the
// plugin.
func (t *table) chainsToDelete() []string {
	var names []string
	for _, i := range t.incompatible {
		if !i.isSet {
			names = append(names, i.name)
		}
	}
	for _, l := range t.tableLayout.chains {
		if t.chains[l.name] != nil {
			names = append(names, l.name)
		}
	}
	return names
}

// updateAdminChains creates the operator's chains that are missing.
func (tx *transaction) updateAdminChains(t *table, names []string) {
	for _, name := range names {
		if t.isOwnChain(name) {
			tx.err = fmt.Errorf("iptablesAdminChainName %q is reserved: "+
				"it is one of the plugin's own chains in table inet %s", name, tableName)
		}
		if t.chains[name] == nil {
			tx.add("chain "+name+" is missing", chainLayout{name: name, comment: adminComment}.create(""))
		}
	}
}

// updateChains makes the chains hold exactly their rules. In the chain forward
// the jumps to the operator's chains come first, in any order.
func (tx *transaction) updateChains(t *table, adminChains []string, elements []element) {
	for _, l := range t.tableLayout.chains {
		actual := t.chains[l.name]
		if actual == nil || len(t.incompatible) > 0 {
			tx.add("chain "+l.name+" is missing", l.create(mark+": "))
			actual = &chain{}
		}
		var jumps []rule
		switch l.name {
		case chainForward:
			jumps = t.adminJumps(adminChains)
		case chainForged:
			if !t.flushesForged() {
				continue // each of its rules is an element
			}
			jumps = t.forgedRules(elements)
		}
		tx.updateRules(l, actual, jumps)
	}
}

// adminJumps returns the jumps to the operator's chains: those that are there,
// and those that must be.
func (t *table) adminJumps(adminChains []string) []rule {
	names := slices.Clone(adminChains)
	if forward := t.chains[chainForward]; forward != nil {
		for name, c := range t.chains {
			if !c.base && !c.marked && !t.isOwnChain(name) && slices.ContainsFunc(forward.rules, jumpTo(name).equals) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var jumps []rule
	for _, name := range slices.Compact(names) {
		jumps = append(jumps, jumpTo(name))
	}
	return jumps
}

// updateRules makes a chain hold its rules and no others, after jumps in any
// order. It appends the rules that are missing at the end. If any other is
// missing, it flushes the chain and adds all.
func (tx *transaction) updateRules(l chainLayout, actual *chain, jumps []rule) {
	desired := append(slices.Clone(jumps), l.rules...)
	same := matchRules(desired, actual.rules, len(jumps))
	if same < len(actual.rules) {
		why := fmt.Sprintf("chain %s ends with a foreign rule", l.name)
		if same < len(desired) {
			why = fmt.Sprintf("chain %s: rule %d is missing or differs: %s", l.name, same+1, desired[same].text)
		}
		tx.add(why, flushChain(l.name))
		same = 0
	}
	for i, r := range desired[same:] {
		request, err := r.create(l.name)
		if err != nil {
			tx.err = err
		}
		tx.add(fmt.Sprintf("chain %s: rule %d is missing: %s", l.name, same+i+1, r.text), request)
	}
}

// matchRules returns how many rules at the beginning of a chain are as desired.
// The first ones, which may have any order, it puts into that of the chain.
func matchRules(desired []rule, actual [][]expr.Any, anyOrder int) int {
	n := 0
	for n < len(actual) && n < len(desired) {
		candidates := desired[n:max(anyOrder, n+1)]
		i := slices.IndexFunc(candidates, func(r rule) bool { return r.equals(actual[n]) })
		if i < 0 {
			break
		}
		candidates[0], candidates[i] = candidates[i], candidates[0]
		n++
	}
	return n
}

// updateElements adds the elements that are missing, and deletes those that must
// be absent.
func (tx *transaction) updateElements(t *table, elements []element) {
	flushed := tx.flushes(chainForged)
	for _, e := range elements {
		switch {
		case !t.differs(e), flushed && e.isForged() && !e.present:
		case e.present:
			create, err := e.create()
			if err != nil {
				tx.err = err
			}
			tx.changes = append(tx.changes, change{why: e.where() + " lacks " + e.String(), request: create, element: e})
		default:
			tx.deleteElement(t, e)
		}
	}
}

func (tx *transaction) deleteElement(t *table, e element) {
	why := e.where() + " has " + e.String() + ", which contradicts the configuration"
	if !e.isForged() {
		tx.changes = append(tx.changes, change{why: why, request: e.delete(), element: e})
		return
	}
	for _, handle := range t.forged()[e.key] {
		r := deleteRule(chainForged, handle, forgedRule(e.key).text)
		tx.changes = append(tx.changes, change{why: why, request: r, element: e})
	}
}

// flushes reports whether the transaction empties a chain.
func (tx *transaction) flushes(chain string) bool {
	object := flushChain(chain).object
	return slices.ContainsFunc(tx.changes, func(c change) bool { return c.request.object == object })
}
