// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// layout is what one chain must hold. Whatever else is in it stays.
type layout struct {
	chain string

	// blocks of rules: those of one block stand in its order, and ahead of
	// whatever would let their packets get past them. A rule that is missing is
	// put at the head of the chain, so that the place of a block does not depend
	// on what others wrote meanwhile.
	blocks [][]rule
	behind func(rule) bool // nil: rule.endsOpen

	unordered []rule // put at the end
	last      []rule // at most one: put at the end, nothing but verdicts behind it

	bridges []policy.Bridge // that the chain is about: what contradicts them must not be there
}

// layouts returns what the chains of a table must hold for a rule set of one
// family, in the order in which a packet meets them. A host that has the
// isolation stages, whoever made them, keeps the jump to them ahead of everything
// accepted, but for the published ports that are exempt from it. What forwards
// nothing, and was not there before, needs no CNI-FORWARD. Whatever is accepted,
// the operator's chains come first.
func layouts(rs policy.RuleSet, t *table) []layout {
	forward := layout{chain: chainForward}
	published := layout{chain: chainPublished, bridges: rs.Bridges}
	accept := layout{chain: chainAccept}
	stage1 := layout{chain: chainStage1, last: []rule{stageReturn}, bridges: rs.Bridges}
	stage2 := layout{chain: chainStage2, last: []rule{stageReturn}, bridges: rs.Bridges}
	cniForward := layout{chain: chainCNIForward, behind: notAdminJump}

	hasStages := t.chains[chainStage1]
	for _, b := range rs.Bridges {
		want := bridgeRules(b)
		published.addBlock(want.published)
		stage1.addBlock(want.stage1)
		stage2.addBlock(want.stage2)
		hasStages = hasStages || b.IngressPolicy.Isolates()
	}
	for _, name := range rs.AdminChains {
		cniForward.blocks = append(cniForward.blocks, []rule{jumpAdmin(name)})
	}
	for _, p := range rs.Addresses {
		cniForward.unordered = append(cniForward.unordered, addressRules(p)...)
	}

	all := []layout{forward, published}
	var jumps []rule
	if published.hasRules() {
		accept.blocks = [][]rule{append(adminJumps(rs, t), acceptAll)}
		jumps, all = append(jumps, jumpPublished), append(all, accept)
	}
	if hasStages {
		jumps, all = append(jumps, jumpStage1), append(all, stage1, stage2)
	}
	if cniForward.hasRules() || t.count(chainForward, jumpForward) > 0 {
		jumps, all = append(jumps, jumpForward), append(all, cniForward)
	}
	all[0].blocks = [][]rule{jumps}
	return all
}

// wants reports whether any rule must be in the chain.
func (l *layout) hasRules() bool { return len(l.blocks)+len(l.unordered)+len(l.last) > 0 }

func (l *layout) addBlock(rules []rule) {
	if len(rules) > 0 {
		l.blocks = append(l.blocks, rules)
	}
}

// surplus returns the rules that must not be there. What is accepted where nobody is
// left who forwards, but others are, goes with the bridge.
func (l layout) forbidden() []rule {
	var rules []rule
	for _, b := range l.bridges {
		b.Forwarded = true
		rules = append(rules, without(everyBridgeRule(b.Name).in()[l.chain], bridgeRules(b).in()[l.chain])...)
	}
	return rules
}

// adminJumps returns the jumps to the operator's chains of a rule set, and to those
// that CNI-FORWARD jumps to already.
func adminJumps(rs policy.RuleSet, t *table) []rule {
	var jumps []rule
	for _, name := range rs.AdminChains {
		jumps = append(jumps, jumpAdmin(name))
	}
	for _, r := range t.rules[chainCNIForward].list {
		// Most rules are of addresses.
		if strings.Contains(string(r), commentAdmin) && !notAdminJump(r) && !slices.Contains(rs.AdminChains, r.target()) {
			jumps = append(jumps, jumpAdmin(r.target()))
		}
	}
	slices.Sort(jumps)
	return slices.Compact(jumps)
}

// notAdminJump reports whether a rule of CNI-FORWARD must stand behind the
// operator's: all but the other jumps to such chains.
func notAdminJump(r rule) bool { return r.key() != jumpAdmin(r.target()).key() }

// without returns the rules that are not among others.
func without(rules, others []rule) []rule {
	var rest []rule
	for _, r := range rules {
		if !slices.Contains(others, r) {
			rest = append(rest, r)
		}
	}
	return rest
}
