// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// variableChains hold the rules that come and go with bridges and addresses.
var variableChains = []string{chainCNIForward, chainPublished, chainStage1, chainStage2}

// planRemove returns the changes that remove a rule set of one family from a
// table. Bridges lose every rule that they can have, under any policy. The stages
// and the chains of published ports go with their last bridge; CNI-FORWARD and the
// operator's chain stay.
func planRemove(t *table, rs policy.RuleSet) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range variableChains {
		p.deleteRules(t, chain, own[chain]...)
	}
	return p.deletingUnusedChains(t)
}

// ownRules returns, by chain, every rule that a rule set's bridges and addresses
// can have.
func ownRules(rs policy.RuleSet) map[string][]rule {
	own := map[string][]rule{}
	for _, b := range rs.Bridges {
		for _, row := range bridgeRows {
			own[row.chain] = append(own[row.chain], row.own(b)...)
		}
	}
	for chain := range own {
		own[chain] = unique(own[chain])
	}
	for _, p := range rs.Addresses {
		own[chainCNIForward] = append(own[chainCNIForward], addressRules(p)...)
	}
	return own
}

// own returns the rules of the row that go with a bridge. Where other networks keep
// it, those that name no other interface stay.
func (row bridgeRow) own(b policy.Bridge) []rule {
	rules := row.rules(b)
	if !b.Kept {
		return rules
	}
	kept := row.rules(policy.Bridge{Name: b.Name})
	return slices.DeleteFunc(rules, func(r rule) bool { return slices.Contains(kept, r) })
}

// chainPair is two chains that are made and deleted together.
type chainPair struct {
	chains     []string
	jump       rule            // from FORWARD to the first
	isConstant func(rule) bool // whether the chains have the rule without any bridge
}

var (
	stageChains     = chainPair{[]string{chainStage1, chainStage2}, jumpStage1, isStageReturn}
	publishedChains = chainPair{[]string{chainPublished, chainAccept}, jumpPublished, isAccept}
)

func isStageReturn(r rule) bool { return r.key() == stageReturn.key() }

func isAccept(r rule) bool {
	return r.key() == acceptAll.key() || r.key() == returnLoopback.key() || isAdminJump(r)
}

// deletingUnusedChains returns the plan, and what deletes the chains that it leaves
// without a use.
func (p plan) deletingUnusedChains(t *table) plan {
	return slices.Concat(p, p.deletePair(t, stageChains), p.deletePair(t, publishedChains))
}

// deletePair returns the changes that delete a pair of chains, or none where
// anything uses them once the plan is done. The chains are emptied rule by rule,
// not flushed: if another program adds a rule meanwhile, the kernel refuses to
// delete the chain, and the transaction changes nothing.
func (p plan) deletePair(t *table, pair chainPair) plan {
	if !pair.canGo(t) || p.uses(t, pair) > 0 {
		return nil
	}
	var more plan
	more.deleteRules(t, chainForward, pair.jump)
	for _, chain := range pair.chains {
		more.deleteRules(t, chain, t.matching(chain, pair.isConstant)...)
	}
	for _, chain := range pair.chains {
		more = append(more, change{op: deleteChain, chain: chain})
	}
	return more
}

// canGo reports whether both chains exist, and no chain of another program jumps
// to them.
func (pair chainPair) canGo(t *table) bool {
	return !slices.ContainsFunc(pair.chains, func(chain string) bool { return !t.chains[chain] || t.referenced[chain] })
}

// uses counts the rules that are a reason to keep a pair after the plan.
func (p plan) uses(t *table, pair chainPair) int {
	n := 0
	for _, chain := range writtenChains {
		for _, r := range t.rules[chain].list {
			if pair.isUsedBy(chain, r) {
				n++
			}
		}
	}
	for _, c := range p {
		if pair.isUsedBy(c.chain, c.rule) {
			n += c.adds() - c.copies.all
		}
	}
	return n
}

// isUsedBy reports whether a rule is a reason to keep the chains: a rule in them
// that is not constant, or another program's jump to them.
func (pair chainPair) isUsedBy(chain string, r rule) bool {
	if slices.Contains(pair.chains, chain) {
		return !pair.isConstant(r)
	}
	if !strings.Contains(string(r), pair.chains[0]) && !strings.Contains(string(r), pair.chains[1]) {
		return false
	}
	return slices.Contains(pair.chains, r.target()) && r.key() != pair.jump.key()
}
