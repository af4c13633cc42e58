// SPDX-License-Identifier: Apache-2.0

package iptables

import "github.com/cni-isolation/firewall/pkg/policy"

// present returns the changes that take a rule set of one family out of a
// table: of its bridges whatever they can have, in any policy. The stages go
// with their last bridge; CNI-FORWARD and the operator's chain stay. A stage is
// not flushed but emptied rule by rule: should another program have put one into
// it meanwhile, deleting the chain fails, and with it all of the transaction.
func present(t *table, rs policy.RuleSet) plan {
	gone := rulesOfBridge{}
	for _, b := range rs.Bridges {
		all := everyBridgeRule(b.Name)
		gone.stage1 = append(gone.stage1, all.stage1...)
		gone.stage2 = append(gone.stage2, all.stage2...)
		gone.accept = append(gone.accept, all.accept...)
	}
	for _, p := range rs.Addresses {
		gone.accept = append(gone.accept, addressRules(p)...)
	}
	var p plan
	p.remove(t, chainCNIForward, gone.accept...)
	p.remove(t, chainStage1, gone.stage1...)
	p.remove(t, chainStage2, gone.stage2...)
	return append(p, p.emptyStages(t)...)
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
	for _, chain := range []string{chainStage1, chainStage2} {
		left := len(t.rules[chain].list) - t.count(chain, stageReturn)
		for _, c := range p {
			if c.chain == chain {
				left -= c.present
			}
		}
		if left > 0 {
			return nil
		}
	}
	if t.jumpsToStages() != t.count(chainForward, jumpStage1) {
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

// undo returns the changes that take back what a plan added and what was not
// there before. Isolation stays where keepIsolation says that the bridge has
// others to isolate, and so do the chains that upstream never removes either.
func (p plan) undo(t *table, keepIsolation bool) plan {
	var back plan
	for _, c := range p {
		accepts := c.op == appendTo && c.chain == chainCNIForward
		isolates := c.op == insert && (c.chain == chainStage1 || c.chain == chainStage2)
		if c.present == 0 && (accepts || isolates && !keepIsolation) {
			back.remove(t, c.chain, c.rule)
		}
	}
	return append(back, back.emptyStages(t)...)
}
