// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// The chains of the filter table that the plugin writes to.
const (
	chainForward    = "FORWARD"
	chainCNIForward = "CNI-FORWARD"
	chainStage1     = "CNI-ISOLATION-STAGE-1"
	chainStage2     = "CNI-ISOLATION-STAGE-2"
)

// The comments of upstream's plugin, to the letter: its CHECK and DEL look for
// them, and so does whoever cleans up by hand.
const (
	commentForward   = "CNI firewall plugin rules"
	commentAdmin     = "CNI firewall plugin admin overrides"
	commentIsolation = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"
)

// commentPublished marks the rules that upstream does not have.
const commentPublished = "CNI firewall plugin rules (publishedPorts: allow)"

// commentPolicy marks the stage 1 rules of a bridge with its policy.
func commentPolicy(p policy.IngressPolicy) string {
	return "CNI firewall plugin rules (ingressPolicy: " + string(p) + ")"
}

// The rules that a chain has once.
var (
	jumpForward = rule(comment(commentForward) + "-j " + chainCNIForward)
	jumpStage1  = rule(comment(commentIsolation) + "-j " + chainStage1)
	stageReturn = rule(comment(commentIsolation) + "-j RETURN")
)

func jumpAdmin(chain string) rule { return rule(comment(commentAdmin) + "-j " + chain) }

// comment returns the match that carries a comment, which stands ahead of the
// target.
func comment(text string) string { return `-m comment --comment "` + text + `" ` }

// layout is what one chain must hold. Whatever else is in it stays.
type layout struct {
	chain string

	// blocks of rules: those of one block stand in its order, and ahead of
	// whatever would let their packets get past them. A rule that is missing is
	// put at the head of the chain, so that the place of a block does not depend
	// on what others wrote meanwhile.
	blocks [][]rule
	past   func(rule) bool // nil: rule.endsOpen

	anywhere []rule // put at the end
	last     []rule // at most one: put at the end, nothing but verdicts behind it
	surplus  []rule // must not be there
}

// layouts returns what the chains must hold for a rule set of one family, in
// the order in which a packet meets them. A host that has the isolation stages,
// whoever made them, keeps the jump to them ahead of everything accepted. What
// forwards nothing, and was not there before, needs no CNI-FORWARD.
func layouts(rs policy.RuleSet, hasStages, hasForward bool) []layout {
	forward := layout{chain: chainForward}
	accept := layout{chain: chainCNIForward, past: notAdminJump}
	stage1 := layout{chain: chainStage1, last: []rule{stageReturn}}
	stage2 := layout{chain: chainStage2, last: []rule{stageReturn}}

	for _, chain := range rs.AdminChains {
		accept.blocks = append(accept.blocks, []rule{jumpAdmin(chain)})
	}
	for _, b := range rs.Bridges {
		want, all := bridgeRules(b), everyBridgeRule(b.Name)
		stage1.addBridge(want.stage1, all.stage1)
		stage2.addBridge(want.stage2, all.stage2)
		if b.Forwarded {
			accept.anywhere = append(accept.anywhere, want.accept...)
		}
		accept.surplus = append(accept.surplus, without(all.accept, want.accept)...)
		hasStages = hasStages || b.IngressPolicy.Isolates()
	}
	for _, p := range rs.Addresses {
		accept.anywhere = append(accept.anywhere, addressRules(p)...)
	}
	all := []layout{forward}
	var jumps []rule
	if hasStages {
		jumps, all = append(jumps, jumpStage1), append(all, stage1, stage2)
	}
	if hasForward || accept.wants() {
		jumps, all = append(jumps, jumpForward), append(all, accept)
	}
	all[0].blocks = [][]rule{jumps}
	return all
}

// wants reports whether any rule must be in the chain.
func (l *layout) wants() bool { return len(l.blocks)+len(l.anywhere)+len(l.last) > 0 }

func (l *layout) addBridge(want, all []rule) {
	if len(want) > 0 {
		l.blocks = append(l.blocks, want)
	}
	l.surplus = append(l.surplus, without(all, want)...)
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
