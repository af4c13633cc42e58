// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// undo returns the changes that bring a rule set's own rules back to what they
// were in the table before. With keepIsolation, isolation that was not there then
// stays; and so do the chains that upstream never removes either.
func planRollback(before, now *table, rs policy.RuleSet, keepIsolation bool) plan {
	own := ownRules(rs)
	var p plan
	for _, chain := range variableChains {
		had := before.present(chain, own[chain])
		for _, r := range own[chain] {
			keep := keepIsolation && slices.Contains(isolationChains.chains, chain) && len(had) == 0
			if before.count(chain, r) == 0 && !keep {
				p.deleteRules(now, chain, r)
			}
		}
		if len(now.present(chain, had)) == len(had) {
			continue
		}
		l := layout{chain: chain, blocks: [][]rule{had}}
		if chain == chainCNIForward { // nothing there goes ahead of the operator's chain
			l = layout{chain: chain, unordered: had}
		}
		p = append(p, l.changes(now)...)
	}
	return p.withoutUnusedChains(now)
}
