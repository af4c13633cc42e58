// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// layout is what one chain must hold. Other rules in the chain stay.
type layout struct {
	chain string

	// The rules of a block stand in its order, and ahead of every rule that
	// follows reports. A missing rule is inserted at the head of the chain, so
	// that its position does not depend on what other programs write meanwhile.
	blocks  [][]rule
	follows func(rule) bool // nil: rule.letsAllOut, which would bypass the block

	unordered []rule // any position; appended
	last      []rule // at most one: appended, only verdicts on all packets behind it

	bridges []policy.Bridge // whose unwanted rules must not be in the chain
}

// layouts returns what the chains of one family must hold for a rule set, in the
// order in which a packet meets them. A host with isolation stages, whoever made
// them, keeps the jump to them ahead of everything accepted; only published ports
// pass earlier. A host that forwards nothing, and never did, needs no CNI-FORWARD.
// Whatever is accepted, the operator's chains stand ahead of it.
func layouts(rs policy.RuleSet, t *table) []layout {
	published := bridgeLayout(chainPublished, rs)
	accept := layout{chain: chainAccept}
	if published.hasRules() {
		accept.blocks = [][]rule{append(adminJumps(rs, t), acceptAll)}
	}
	stages := stageLayouts(rs, t)
	cniForward := addressLayout(rs)

	var jumps []rule
	for _, j := range []struct {
		jump   rule
		wanted bool
	}{
		{jumpPublished, published.hasRules()},
		{jumpStage1, len(stages) > 0},
		{jumpForward, cniForward.hasRules() || t.count(chainForward, jumpForward) > 0},
	} {
		if j.wanted {
			jumps = append(jumps, j.jump)
		}
	}
	forward := layout{chain: chainForward, blocks: [][]rule{jumps}}
	return slices.Concat([]layout{forward, published, accept}, stages, []layout{cniForward})
}

// bridgeLayout returns the rules of all bridges in a chain.
func bridgeLayout(chain string, rs policy.RuleSet) layout {
	l := layout{chain: chain, bridges: rs.Bridges}
	for _, b := range rs.Bridges {
		if rules := wantedRules(chain, b); len(rules) > 0 {
			l.blocks = append(l.blocks, rules)
		}
	}
	return l
}

// stageLayouts returns the layouts of the two stages, or none where no bridge is
// isolated and nobody made a stage.
func stageLayouts(rs policy.RuleSet, t *table) []layout {
	if !t.chains[chainStage1] && !slices.ContainsFunc(rs.Bridges, isolates) {
		return nil
	}
	stage1, stage2 := bridgeLayout(chainStage1, rs), bridgeLayout(chainStage2, rs)
	stage1.last, stage2.last = []rule{stageReturn}, []rule{stageReturn}
	return []layout{stage1, stage2}
}

// addressLayout returns the layout of CNI-FORWARD.
func addressLayout(rs policy.RuleSet) layout {
	l := layout{chain: chainCNIForward, follows: func(r rule) bool { return !isAdminJump(r) }}
	for _, chain := range rs.AdminChains {
		l.blocks = append(l.blocks, []rule{jumpAdmin(chain)})
	}
	for _, p := range rs.Addresses {
		l.unordered = append(l.unordered, addressRules(p)...)
	}
	return l
}

// hasRules reports whether the chain must hold any rule.
func (l layout) hasRules() bool { return len(l.blocks)+len(l.unordered)+len(l.last) > 0 }

// forbidden returns the rules that must not be in the chain. The accepts of
// published ports on a bridge that forwards nothing any more are not among them:
// they are removed with the bridge.
func (l layout) forbidden() []rule {
	var rules []rule
	for _, b := range l.bridges {
		b.Forwarded = true
		rules = append(rules, unwantedRules(l.chain, b)...)
	}
	return rules
}

// adminJumps returns the jumps to the operator's chains: those of the rule set,
// and those that CNI-FORWARD has already.
func adminJumps(rs policy.RuleSet, t *table) []rule {
	var jumps []rule
	for _, chain := range rs.AdminChains {
		jumps = append(jumps, jumpAdmin(chain))
	}
	for _, r := range t.rules[chainCNIForward].list {
		// Most rules are of addresses: the search costs less than the key.
		if strings.Contains(string(r), commentAdmin) && isAdminJump(r) {
			jumps = append(jumps, jumpAdmin(r.target()))
		}
	}
	slices.Sort(jumps)
	return slices.Compact(jumps)
}

// isAdminJump reports whether a rule jumps to a chain of the operator's.
func isAdminJump(r rule) bool { return r.key() == jumpAdmin(r.target()).key() }
