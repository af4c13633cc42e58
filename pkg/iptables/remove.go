// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// shared are the chains that hold what bridges and addresses have of their own.
var variableChains = []string{chainCNIForward, chainPublished, chainStage1, chainStage2}

// present returns the changes that take a rule set of one family out of a
// table: of its bridges whatever they can have, in any policy. The stages, and the
// chains of published ports, go with their last bridge; CNI-FORWARD and the
// operator's chain stay.
func planRemove(t *table, rs policy.RuleSet) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range variableChains {
		p.deleteRules(t, chain, own[chain]...)
	}
	return p.withoutUnusedChains(t)
}

// ownRules returns, by chain, the rules that are a rule set's alone: of its
// addresses, and of its bridges in any policy.
func ownRules(rs policy.RuleSet) map[string][]rule {
	own := map[string][]rule{}
	for _, b := range rs.Bridges {
		for _, row := range bridgeRules {
			own[row.chain] = append(own[row.chain], row.rule(b.Name))
		}
	}
	for _, p := range rs.Addresses {
		own[chainCNIForward] = append(own[chainCNIForward], addressRules(p)...)
	}
	return own
}

// group is chains that come and go together.
type chainGroup struct {
	chains     []string
	jump       rule            // of FORWARD, to the first of them
	isConstant func(rule) bool // what they have without any bridge
}

var (
	isolationChains = chainGroup{[]string{chainStage1, chainStage2}, jumpStage1, func(r rule) bool { return r.key() == stageReturn.key() }}
	publishedChains = chainGroup{[]string{chainPublished, chainAccept}, jumpPublished, func(r rule) bool {
		return r.key() == acceptAll.key() || isAdminJump(r)
	}}
)

// withoutEmpty returns the plan with what deletes the groups that it empties.
func (p plan) withoutUnusedChains(t *table) plan {
	return slices.Concat(p, p.deleteGroup(t, isolationChains), p.deleteGroup(t, publishedChains))
}

// deletion returns the changes that delete a group's chains, if the plan leaves
// nothing else in them and nobody else jumps to them. A chain is not flushed but
// emptied rule by rule: should another program have put one into it meanwhile,
// deleting the chain fails, and with it all of the transaction.
func (p plan) deleteGroup(t *table, g chainGroup) plan {
	left := 0
	for _, chain := range g.chains {
		if !t.chains[chain] || t.referenced[chain] {
			return nil
		}
	}
	for _, chain := range writtenChains {
		for _, r := range t.rules[chain].list {
			if g.isUsedBy(chain, r) {
				left++
			}
		}
	}
	for _, c := range p {
		if g.isUsedBy(c.chain, c.rule) {
			left += c.adds() - c.copies
		}
	}
	if left > 0 {
		return nil
	}
	var more plan
	more.deleteRules(t, chainForward, g.jump)
	for _, chain := range g.chains {
		more.deleteRules(t, chain, t.present(chain, g.constants(t.rules[chain].list))...)
	}
	for _, chain := range g.chains {
		more = append(more, change{op: deleteChain, chain: chain})
	}
	return more
}

// fillers returns those of some rules that the chains have in any case.
func (g chainGroup) constants(rules []rule) []rule {
	var found []rule
	for _, r := range rules {
		if g.isConstant(r) {
			found = append(found, r)
		}
	}
	return found
}

// isHeldBy reports whether a rule is a reason to keep the chains: one in them that
// is more than they have in any case, or another's that leads to them.
func (g chainGroup) isUsedBy(chain string, r rule) bool {
	if slices.Contains(g.chains, chain) {
		return !g.isConstant(r)
	}
	if !strings.Contains(string(r), g.chains[0]) && !strings.Contains(string(r), g.chains[1]) {
		return false
	}
	return slices.Contains(g.chains, r.target()) && r.key() != g.jump.key()
}
