// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// planApply returns the changes that make the table of a family hold its part of a rule
// set. It deletes only rules that contradict the rule set. It deletes no chain: if the call
// fails in the other family, the rollback needs the chain.
func planApply(t *table, f policy.Family, rs policy.RuleSet) plan {
	var p plan
	rs = rs.In(f)
	all := layouts(f, rs, t)
	for _, name := range chainsOf(all, rs.AdminChains) {
		if !t.chains[name] {
			p = append(p, change{op: newChain, chain: name, reason: chainMissing})
		}
	}
	for _, l := range all {
		p = append(p, l.changes(t)...)
	}
	return p
}

// chainsOf returns the chains that the table must have.
func chainsOf(all []layout, adminChains []string) []string {
	names := slices.Clone(adminChains)
	for _, l := range all {
		if l.hasRules() {
			names = append(names, l.chain)
		}
	}
	return names
}

// changes returns what makes the chain hold its layout. Forbidden rules are looked
// for only where the chain has rules that the layout does not know.
func (l layout) changes(t *table) plan {
	p, inBlocks := l.orderBlocks(t)
	rest, inRest := l.appendRest(t)
	p = append(p, rest...)
	if len(l.bridges) == 0 || inBlocks+inRest == len(t.rules[l.chain].list) {
		return p
	}
	return append(l.deleteForbidden(t), p...)
}

func (l layout) deleteForbidden(t *table) plan {
	var p plan
	for _, r := range l.forbidden() {
		if _, n := t.find(l.chain, r); n.all > 0 {
			p = append(p, change{op: deleteRule, chain: l.chain, rule: r, copies: n, reason: contradicts})
		}
	}
	return p
}

// orderBlocks returns what puts all blocks in order, and how many of their rules
// the chain has.
func (l layout) orderBlocks(t *table) (p plan, known int) {
	limit := l.limit(t)
	for _, block := range l.blocks {
		more, n := l.orderBlock(t, block, limit)
		p, known = append(p, more...), known+n
	}
	return p, known
}

// limit returns the position of the first rule that blocks must stand ahead of.
func (l layout) limit(t *table) int {
	follows := l.follows
	if follows == nil {
		follows = rule.letsAllOut
	}
	if at := slices.IndexFunc(t.rules[l.chain].list, follows); at >= 0 {
		return at
	}
	return len(t.rules[l.chain].list)
}

// orderBlock returns what puts a block in its order and ahead of the limit. From
// the block's end on, a rule stays where it is as long as it stands ahead of the
// next one; the rest of the block is inserted at the head of the chain. Its last rule
// may have to stand behind rules of other programs.
func (l layout) orderBlock(t *table, block []rule, limit int) (p plan, known int) {
	toHead := false
	for _, r := range slices.Backward(block) {
		at, n := t.find(l.chain, r)
		certain, possible := l.guard.limits(r, limit)
		known += n.all
		c := change{op: insertRule, chain: l.chain, rule: r, copies: n}
		switch {
		case l.behind.moves(r, at, n.all, limit):
			c.number, limit = 1, l.behind.position-1
		case n.all > 0 && n.old == 0 && at <= min(certain, possible) && !toHead:
			limit = at
			continue
		default:
			toHead = true
		}
		c.reason = whyMove(at, n.all, certain)
		if toHead && c.reason == "" {
			limit = at // where it stands now, what is ahead of it is in order
		}
		p = append(p, c)
	}
	slices.Reverse(p)
	return l.numbered(t, p), known
}

// whyMove returns the reason for inserting a rule.
func whyMove(at, copies, limit int) string {
	switch {
	case copies == 0:
		return ruleMissing
	case at > limit:
		return outOfPlace
	}
	return ""
}

// numbered returns the plan with the number of the rule that must stand behind others.
// The rules that the plan deletes are gone by then, and those for the head are not there.
func (l layout) numbered(t *table, p plan) plan {
	moving := map[uint64]bool{}
	for _, c := range p {
		moving[c.rule.key()] = true
	}
	for i := range p {
		if p[i].number == 0 {
			continue
		}
		for _, r := range t.rules[l.chain].list[:l.behind.position] {
			if !moving[r.key()] {
				p[i].number++
			}
		}
	}
	return p
}

// appendRest returns what appends the rules that are in no block, and how many of
// them the chain has.
func (l layout) appendRest(t *table) (p plan, known int) {
	for _, r := range l.unordered {
		_, n := t.find(l.chain, r)
		if known += n.all; n.all == 0 {
			p = append(p, change{op: appendRule, chain: l.chain, rule: r, reason: ruleMissing})
		}
	}
	for _, r := range l.last {
		known += t.count(l.chain, r)
		p = append(p, l.orderLast(t, r)...)
	}
	return p, known
}

// orderLast returns what puts a verdict on all packets at the end of its chain.
func (l layout) orderLast(t *table, r rule) plan {
	at, n := t.find(l.chain, r)
	switch {
	case n.all == 0:
		return plan{{op: appendRule, chain: l.chain, rule: r, reason: ruleMissing}}
	case slices.ContainsFunc(t.rules[l.chain].list[at:], func(o rule) bool { return !o.letsAllOut() }):
		return plan{{op: appendRule, chain: l.chain, rule: r, copies: n, reason: outOfPlace}}
	case n.old > 0:
		return plan{{op: appendRule, chain: l.chain, rule: r, copies: n}}
	}
	return nil
}
