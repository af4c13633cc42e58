// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// The chains of the filter table that the plugin writes to.
const (
	chainForward    = "FORWARD"
	chainCNIForward = policy.ChainForward
	chainPublished  = policy.ChainPublished
	chainAccept     = policy.ChainPublishedAccept
	chainStage1     = policy.ChainStage1
	chainStage2     = policy.ChainStage2
)

// Upstream's comments, to the letter. Upstream's CHECK and DEL look for them, and
// so does whoever cleans up by hand.
const (
	commentForward   = "CNI firewall plugin rules"
	commentAdmin     = "CNI firewall plugin admin overrides"
	commentIsolation = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"
)

// commentPublished marks the rules that upstream does not have.
const commentPublished = "CNI firewall plugin rules (publishedPorts: allow)"

// commentPolicy is upstream's comment on the stage 1 rules of a bridge.
func commentPolicy(p policy.IngressPolicy) string {
	return "CNI firewall plugin rules (ingressPolicy: " + string(p) + ")"
}

// comment returns the match that carries a comment. It stands ahead of the target.
func comment(text string) string { return `-m comment --comment "` + text + `" ` }

// The rules that stand once in a chain.
var (
	jumpPublished = rule("-m conntrack --ctstate DNAT " + comment(commentPublished) + "-j " + chainPublished)
	jumpStage1    = rule(comment(commentIsolation) + "-j " + chainStage1)
	jumpForward   = rule(comment(commentForward) + "-j " + chainCNIForward)
	stageReturn   = rule(comment(commentIsolation) + "-j RETURN")
	acceptAll     = rule(comment(commentPublished) + "-j ACCEPT")
)

func jumpAdmin(chain string) rule { return rule(comment(commentAdmin) + "-j " + chain) }

// bridgeRules is every rule that a bridge can have, in the kernel's order.
//
// Published ports go by the direction of the connection, as conntrack saw it
// begin. A packet of the original direction is accepted if the bridge that it
// leaves by allows published ports. A reply is accepted wherever it leads: the
// kernel has such a connection only because its first packet passed. Both happen
// ahead of the stages, in a chain that only redirected packets see: all other
// packets pass no rule for it, however many bridges there are. Where the plugin
// forwards nothing, it accepts nothing, and the stages hold for all packets.
//
// Bridges have no order among each other. RETURN in stage 2 goes on in stage 1,
// where only rules of the bridge that the packet came from can match; those stand
// before the jump or do nothing.
var bridgeRules = []struct {
	chain  string
	rule   func(bridge string) rule
	wanted func(policy.Bridge) bool
}{
	{chainPublished, acceptPublished, publishes},
	{chainPublished, acceptReplies, func(b policy.Bridge) bool { return publishes(b) && isolates(b) }},
	{chainStage1, dropSameBridge, hasPolicy(policy.Isolated)},
	{chainStage1, toStage2(commentPolicy(policy.SameBridge)), hasPolicy(policy.SameBridge)},
	{chainStage1, toStage2(commentPolicy(policy.Isolated)), hasPolicy(policy.Isolated)},
	{chainStage2, dropToBridge, isolates},
}

func publishes(b policy.Bridge) bool { return b.Forwarded && b.PublishedPorts == policy.Allow }

func isolates(b policy.Bridge) bool { return b.IngressPolicy.Isolates() }

func hasPolicy(p policy.IngressPolicy) func(policy.Bridge) bool {
	return func(b policy.Bridge) bool { return b.IngressPolicy == p }
}

// wantedRules returns the rules that a bridge must have in a chain.
func wantedRules(chain string, b policy.Bridge) []rule {
	var rules []rule
	for _, row := range bridgeRules {
		if row.chain == chain && row.wanted(b) {
			rules = append(rules, row.rule(b.Name))
		}
	}
	return rules
}

// unwantedRules returns the rules that a bridge must not have in a chain.
func unwantedRules(chain string, b policy.Bridge) []rule {
	var rules []rule
	for _, row := range bridgeRules {
		if row.chain == chain && !row.wanted(b) {
			rules = append(rules, row.rule(b.Name))
		}
	}
	return rules
}

func acceptPublished(bridge string) rule {
	return published("-o " + bridge + " -m conntrack --ctstate DNAT --ctdir ORIGINAL")
}

func acceptReplies(bridge string) rule {
	return published("-i " + bridge + " -m conntrack --ctstate DNAT --ctdir REPLY")
}

func published(matches string) rule {
	return rule(matches + " " + comment(commentPublished) + "-j " + chainAccept)
}

func dropSameBridge(bridge string) rule {
	return rule("-i " + bridge + " -o " + bridge + " " + comment(commentPolicy(policy.Isolated)) + "-j DROP")
}

// toStage2 returns the function that makes a bridge's jump to stage 2.
func toStage2(text string) func(bridge string) rule {
	rest := " " + comment(text) + "-j " + chainStage2
	return func(bridge string) rule { return rule("-i " + bridge + " ! -o " + bridge + rest) }
}

func dropToBridge(bridge string) rule {
	return rule("-o " + bridge + " " + comment(commentIsolation) + "-j DROP")
}

// addressRules accept what a container sends, and the replies to it.
func addressRules(p netip.Prefix) []rule {
	address := p.String()
	return []rule{
		rule("-d " + address + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
		rule("-s " + address + " -j ACCEPT"),
	}
}
