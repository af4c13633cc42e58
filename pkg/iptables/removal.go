// SPDX-License-Identifier: Apache-2.0

package iptables

import "github.com/cni-isolation/firewall/pkg/policy"

// present returns the changes that take a rule set of one family out of a
// table: of its bridges whatever they can have, in any policy. The stages go
// with their last bridge; CNI-FORWARD and the operator's chain stay. A stage is
// not flushed but emptied rule by rule: should another program have put one into
// it meanwhile, deleting the chain fails, and with it all of the transaction.
func present(t *table, rs policy.RuleSet) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range []string{chainCNIForward, chainStage1, chainStage2} {
		p.remove(t, chain, own[chain]...)
	}
	return append(p, p.emptyStages(t)...)
}

// ownRules returns, by chain, the rules that are a rule set's alone: of its
// addresses, and of its bridges in any policy.
func ownRules(rs policy.RuleSet) map[string][]rule {
	own := map[string][]rule{}
	for _, b := range rs.Bridges {
		all := everyBridgeRule(b.Name)
		own[chainStage1] = append(own[chainStage1], all.stage1...)
		own[chainStage2] = append(own[chainStage2], all.stage2...)
		own[chainCNIForward] = append(own[chainCNIForward], all.accept...)
	}
	for _, p := range rs.Addresses {
		own[chainCNIForward] = append(own[chainCNIForward], addressRules(p)...)
	}
	return own
}

func (p *plan) remove(t *table, chain string, rules ...rule) {
	for _, r := range rules {
		if n := t.count(chain, r); n > 0 {
			*p = append(*p, change{remove, chain, r, n, ""})
		}
	}
}

// emptyStages returns the changes that delete the stages, if the plan leaves
// nothing in them but the plugin's own RETURN and nobody else jumps to them.
func (p plan) emptyStages(t *table) plan {
	if !t.chains[chainStage1] || !t.chains[chainStage2] || t.referred {
		return nil
	}
	left := map[string]int{chainForward: t.jumpsToStages() - t.count(chainForward, jumpStage1)}
	for _, chain := range []string{chainStage1, chainStage2} {
		left[chain] = len(t.rules[chain].list) - t.count(chain, stageReturn)
	}
	for _, c := range p {
		left[c.chain] -= c.present
	}
	if left[chainForward] > 0 || left[chainStage1] > 0 || left[chainStage2] > 0 {
		return nil
	}
	var more plan
	more.remove(t, chainForward, jumpStage1)
	for _, chain := range []string{chainStage1, chainStage2} {
		more.remove(t, chain, stageReturn)
		more = append(more, change{op: deleteChain, chain: chain})
	}
	return more
}

// undo returns the changes that bring a rule set's own rules back to what they
// were in the table before. With keepIsolation, isolation that was not there then
// stays; and so do the chains that upstream never removes either.
func undo(before, now *table, rs policy.RuleSet, keepIsolation bool) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range []string{chainCNIForward, chainStage1, chainStage2} {
		had := before.those(chain, own[chain])
		for _, r := range own[chain] {
			keep := keepIsolation && chain != chainCNIForward && len(had) == 0
			if before.count(chain, r) == 0 && !keep {
				p.remove(now, chain, r)
			}
		}
		if len(now.those(chain, had)) == len(had) {
			continue
		}
		l := layout{chain: chain, blocks: [][]rule{had}}
		if chain == chainCNIForward { // nothing there goes ahead of the operator's chain
			l = layout{chain: chain, anywhere: had}
		}
		p = append(p, l.missing(now)...)
	}
	return append(p, p.emptyStages(now)...)
}
