// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// missing returns the changes that make a table hold a rule set of one family.
// It removes only what contradicts the rule set, and no chain: should the call fail
// in the other family, there must be one to put rules back into.
func planApply(t *table, rs policy.RuleSet) plan {
	var p plan
	all := layouts(rs, t)
	for _, name := range chainsOf(all, rs.AdminChains) {
		if !t.chains[name] {
			p = append(p, change{op: newChain, chain: name, reason: "chain is missing"})
		}
	}
	for _, l := range all {
		p = append(p, l.changes(t)...)
	}
	return p
}

// chainsOf returns the chains that there must be.
func chainsOf(all []layout, adminChains []string) []string {
	names := slices.Clone(adminChains)
	for _, l := range all {
		if l.hasRules() {
			names = append(names, l.chain)
		}
	}
	return names
}

func (l layout) changes(t *table) plan {
	var p plan
	known := 0 // rules of the chain that must be there
	limit := l.limit(t)
	for _, block := range l.blocks {
		more, there := l.orderBlock(t, block, limit)
		p, known = append(p, more...), known+there
	}
	for _, r := range l.unordered {
		n := t.count(l.chain, r)
		if known += n; n == 0 {
			p = append(p, change{appendRule, l.chain, r, 0, "rule is missing"})
		}
	}
	for _, r := range l.last {
		known += t.count(l.chain, r)
		p = append(p, l.orderLast(t, r)...)
	}
	if len(l.bridges) == 0 || known == len(t.rules[l.chain].list) {
		return p
	}
	return append(l.deleteForbidden(t), p...)
}

func (l layout) deleteForbidden(t *table) plan {
	var p plan
	for _, r := range l.forbidden() {
		if n := t.count(l.chain, r); n > 0 {
			p = append(p, change{deleteRule, l.chain, r, n, "rule contradicts the configuration"})
		}
	}
	return p
}

// bound returns where the first rule stands that the blocks must be ahead of.
func (l layout) limit(t *table) int {
	behind := l.behind
	if behind == nil {
		behind = rule.letsAllOut
	}
	if at := slices.IndexFunc(t.rules[l.chain].list, behind); at >= 0 {
		return at
	}
	return len(t.rules[l.chain].list)
}

// place returns what puts a block in its order and ahead of the bound. From its
// end on, rules stay where they are as long as each stands ahead of the next
// one; the rest of the block goes to the head of the chain. there is how many of
// its rules the chain has.
func (l layout) orderBlock(t *table, block []rule, limit int) (p plan, there int) {
	for _, r := range slices.Backward(block) {
		at, n := t.find(l.chain, r)
		there += n
		switch {
		case n == 0:
			p = append(p, change{insertRule, l.chain, r, 0, "rule is missing"})
		case at > limit:
			p = append(p, change{insertRule, l.chain, r, n, "rule is out of place"})
		case len(p) > 0:
			p = append(p, change{insertRule, l.chain, r, n, ""})
		default:
			limit = at
		}
	}
	slices.Reverse(p)
	return p, there
}

// placeLast returns what puts a verdict on all packets at the end of its chain.
func (l layout) orderLast(t *table, r rule) plan {
	at, n := t.find(l.chain, r)
	if n == 0 {
		return plan{{appendRule, l.chain, r, 0, "rule is missing"}}
	}
	if slices.ContainsFunc(t.rules[l.chain].list[at:], func(o rule) bool { return !o.letsAllOut() }) {
		return plan{{appendRule, l.chain, r, n, "rule is out of place"}}
	}
	return nil
}
