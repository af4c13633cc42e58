// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// planRollback returns the changes that give a rule set's bridges and addresses the
// rules that they had before, and no others. With keepIsolation, a bridge that had
// no isolation keeps what it has now. CNI-FORWARD and the operator's chain stay, as
// they do with upstream's plugin.
func planRollback(before, now *table, rs policy.RuleSet, keepIsolation bool) plan {
	var p plan
	own := ownRules(rs)
	for _, chain := range variableChains {
		had := before.present(chain, own[chain])
		keep := keepIsolation && len(had) == 0 && slices.Contains(stageChains.chains, chain)
		if !keep {
			p.deleteRules(now, chain, absent(before, chain, own[chain])...)
		}
		p = append(p, restore(now, chain, had)...)
	}
	return p.deletingUnusedChains(now)
}

// absent returns those of some rules that a chain does not have.
func absent(t *table, chain string, rules []rule) []rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return t.count(chain, r) > 0 })
}

// restore returns the changes that put lost rules back. They go to the head of the
// chain, but for those of CNI-FORWARD, where the operator's chain comes first.
func restore(t *table, chain string, rules []rule) plan {
	switch {
	case len(t.present(chain, rules)) == len(rules):
		return nil
	case chain == chainCNIForward:
		return layout{chain: chain, unordered: rules}.changes(t)
	}
	return layout{chain: chain, blocks: [][]rule{rules}}.changes(t)
}
