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
	jumpPublished = rule("-m conntrack --ctstate DNAT " + comment(commentPublished) + "-j " + chainPublished)
	jumpStage1    = rule(comment(commentIsolation) + "-j " + chainStage1)
	jumpForward   = rule(comment(commentForward) + "-j " + chainCNIForward)
	stageReturn   = rule(comment(commentIsolation) + "-j RETURN")
	acceptAll     = rule(comment(commentPublished) + "-j ACCEPT")
)

func jumpAdmin(chain string) rule { return rule(comment(commentAdmin) + "-j " + chain) }

// comment returns the match that carries a comment, which stands ahead of the
// target.
func comment(text string) string { return `-m comment --comment "` + text + `" ` }

// rulesOfBridge are the rules of one bridge, by chain, in the kernel's order.
type rulesOfBridge struct {
	published, stage1, stage2 []rule
}

// bridgeRules returns the rules of a bridge.
//
// Published ports go by the direction of the connection, as conntrack saw it
// begin. Towards the bridge that serves the port, a packet of the original
// direction is accepted if that bridge allows it. So are the replies, wherever they
// lead: the kernel has such a connection only because its first packet passed. That
// happens ahead of the stages, in a chain that only redirected packets see: all
// others pass no rule for it, however many bridges there are. Where the plugin
// forwards nothing it accepts nothing, and the stages hold for all packets.
//
// A chain's rules of one bridge need no place relative to those of another:
// RETURN in stage 2 goes on in stage 1, where only the rules of the bridge that
// the packet came from can match, and those stand before the jump or do nothing.
func bridgeRules(b policy.Bridge) rulesOfBridge {
	var r rulesOfBridge
	isolates := b.IngressPolicy.Isolates()
	if b.Forwarded && b.PublishedPorts == policy.Allow {
		r.published = append(r.published, acceptPublished(b.Name))
		if isolates {
			r.published = append(r.published, acceptReplies(b.Name))
		}
	}
	if b.IngressPolicy == policy.Isolated {
		r.stage1 = append(r.stage1, dropSameBridge(b.Name))
	}
	if isolates {
		r.stage1 = append(r.stage1, toStage2(b.Name, b.IngressPolicy))
		r.stage2 = append(r.stage2, dropToBridge(b.Name))
	}
	return r
}

// everyBridgeRule returns every rule that a bridge of that name can have, or
// that upstream's plugin can have left for it.
func everyBridgeRule(name string) rulesOfBridge {
	return rulesOfBridge{
		published: []rule{acceptPublished(name), acceptReplies(name)},
		stage1:    []rule{dropSameBridge(name), toStage2(name, policy.SameBridge), toStage2(name, policy.Isolated)},
		stage2:    []rule{dropToBridge(name)},
	}
}

// in returns the rules by chain.
func (r rulesOfBridge) in() map[string][]rule {
	return map[string][]rule{chainPublished: r.published, chainStage1: r.stage1, chainStage2: r.stage2}
}

func toStage2(bridge string, p policy.IngressPolicy) rule {
	return rule("-i " + bridge + " ! -o " + bridge + " " + comment(commentPolicy(p)) + "-j " + chainStage2)
}

func dropSameBridge(bridge string) rule {
	return rule("-i " + bridge + " -o " + bridge + " " + comment(commentPolicy(policy.Isolated)) + "-j DROP")
}

func dropToBridge(bridge string) rule {
	return rule("-o " + bridge + " " + comment(commentIsolation) + "-j DROP")
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

// addressRules forward what a container sends, and the answers to it.
func addressRules(p netip.Prefix) []rule {
	address := p.String()
	return []rule{
		rule("-d " + address + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
		rule("-s " + address + " -j ACCEPT"),
	}
}
