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

	guard  guard  // a rule of a block that must stand ahead of more
	behind behind // the last rule of a block, if it must not stand at the head

	unordered []rule // any position; appended
	last      []rule // at most one: appended, only verdicts on all packets behind it

	bridges []policy.Bridge // whose unwanted rules must not be in the chain
	alone   bool            // no table stands beside: see policy.RuleSet
}

// layouts returns what the chains of one family must hold for a rule set, in the
// order in which a packet meets them. Whatever is accepted, the operator's chains
// stand ahead of it.
func layouts(f policy.Family, rs policy.RuleSet, t *table) []layout {
	published := bridgeLayout(chainPublished, rs)
	accept := layout{chain: chainAccept}
	if published.hasRules() {
		accept.blocks = [][]rule{slices.Concat(loopbackReturns(f), adminJumps(rs, t), []rule{acceptAll})}
	}
	stages := stageLayouts(rs, t)
	cniForward := addressLayout(rs)
	forward := forwardLayout(t, rs, map[rule]bool{
		jumpPublished: published.hasRules(),
		jumpStage1:    len(stages) > 0,
		// A host that forwards nothing, and never did, needs no CNI-FORWARD.
		jumpForward: cniForward.hasRules() || t.count(chainForward, jumpForward) > 0,
	})
	return slices.Concat([]layout{forward, published, accept}, stages, []layout{cniForward})
}

// bridgeLayout returns the rules of all bridges in a chain. Networks that share
// interfaces have one block, since the order of their rules matters.
func bridgeLayout(chain string, rs policy.RuleSet) layout {
	l := layout{chain: chain, bridges: rs.Bridges, alone: rs.Alone}
	shared := sharedInterfaces(rs.Bridges)
	var together []policy.Bridge
	for _, b := range rs.Bridges {
		if shared[b.Name] {
			together = append(together, b)
		} else {
			l.addBlock(wantedRules(chain, rs.Alone, b))
		}
	}
	l.addBlock(wantedRules(chain, rs.Alone, together...))
	return l
}

func (l *layout) addBlock(rules []rule) {
	if len(rules) > 0 {
		l.blocks = append(l.blocks, rules)
	}
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
	bridges := slices.Clone(l.bridges)
	for i := range bridges {
		bridges[i].Forwarded = true
	}
	return unwantedRules(l.chain, l.alone, bridges)
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

// loopbackReturns returns what keeps a connection to a loopback address from being
// accepted. The portmap plugin sets route_localnet on the bridges of published ports, so
// a frame that is sent to 127.0.0.1 reaches a port that is published for the host alone.
// What the host itself sends there never passes FORWARD. IPv6 has no route_localnet.
//
// The rule stands where all bridges' accepts lead. In CNI-PUBLISHED itself it would have
// to move, which is slow, whenever a bridge comes ahead of it.
func loopbackReturns(f policy.Family) []rule {
	if f != policy.IPv4 {
		return nil
	}
	return []rule{returnLoopback}
}

// isAdminJump reports whether a rule jumps to a chain of the operator's.
func isAdminJump(r rule) bool { return r.key() == jumpAdmin(r.target()).key() }
