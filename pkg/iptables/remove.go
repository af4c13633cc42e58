// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// shared are the chains that hold what bridges and addresses have of their own.
var shared = []string{chainCNIForward, chainPublished, chainStage1, chainStage2}

// present returns the changes that take a rule set of one family out of a
// table: of its bridges whatever they can have, in any policy. The stages, and the
// chains of published ports, go with their last bridge; CNI-FORWARD and the
// operator's chain stay.
func present(t *table, rs policy.RuleSet) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range shared {
		p.remove(t, chain, own[chain]...)
	}
	return p.withoutEmpty(t)
}

// ownRules returns, by chain, the rules that are a rule set's alone: of its
// addresses, and of its bridges in any policy.
func ownRules(rs policy.RuleSet) map[string][]rule {
	own := map[string][]rule{}
	for _, b := range rs.Bridges {
		for chain, rules := range everyBridgeRule(b.Name).in() {
			own[chain] = append(own[chain], rules...)
		}
	}
	for _, p := range rs.Addresses {
		own[chainCNIForward] = append(own[chainCNIForward], addressRules(p)...)
	}
	return own
}

// group is chains that come and go together.
type group struct {
	chains []string
	jump   rule            // of FORWARD, to the first of them
	filler func(rule) bool // what they have without any bridge
}

var (
	stages = group{[]string{chainStage1, chainStage2}, jumpStage1, func(r rule) bool { return r.key() == stageReturn.key() }}
	ports  = group{[]string{chainPublished, chainAccept}, jumpPublished, func(r rule) bool {
		return r.key() == acceptAll.key() || !notAdminJump(r)
	}}
)

// withoutEmpty returns the plan with what deletes the groups that it empties.
func (p plan) withoutEmpty(t *table) plan {
	return slices.Concat(p, p.deletion(t, stages), p.deletion(t, ports))
}

// deletion returns the changes that delete a group's chains, if the plan leaves
// nothing else in them and nobody else jumps to them. A chain is not flushed but
// emptied rule by rule: should another program have put one into it meanwhile,
// deleting the chain fails, and with it all of the transaction.
func (p plan) deletion(t *table, g group) plan {
	left := 0
	for _, chain := range g.chains {
		if !t.chains[chain] || t.referred[chain] {
			return nil
		}
	}
	for _, chain := range written {
		for _, r := range t.rules[chain].list {
			if g.isHeldBy(chain, r) {
				left++
			}
		}
	}
	for _, c := range p {
		if g.isHeldBy(c.chain, c.rule) {
			left += c.copies() - c.present
		}
	}
	if left > 0 {
		return nil
	}
	var more plan
	more.remove(t, chainForward, g.jump)
	for _, chain := range g.chains {
		more.remove(t, chain, t.those(chain, g.fillers(t.rules[chain].list))...)
	}
	for _, chain := range g.chains {
		more = append(more, change{op: deleteChain, chain: chain})
	}
	return more
}

// fillers returns those of some rules that the chains have in any case.
func (g group) fillers(rules []rule) []rule {
	var found []rule
	for _, r := range rules {
		if g.filler(r) {
			found = append(found, r)
		}
	}
	return found
}

// isHeldBy reports whether a rule is a reason to keep the chains: one in them that
// is more than they have in any case, or another's that leads to them.
func (g group) isHeldBy(chain string, r rule) bool {
	if slices.Contains(g.chains, chain) {
		return !g.filler(r)
	}
	if !strings.Contains(string(r), g.chains[0]) && !strings.Contains(string(r), g.chains[1]) {
		return false
	}
	return slices.Contains(g.chains, r.target()) && r.key() != g.jump.key()
}
