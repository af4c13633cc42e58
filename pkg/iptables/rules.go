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
	jumpPublished  = rule("-m conntrack --ctstate DNAT " + comment(commentPublished) + "-j " + chainPublished)
	jumpStage1     = rule(comment(commentIsolation) + "-j " + chainStage1)
	jumpForward    = rule(comment(commentForward) + "-j " + chainCNIForward)
	stageReturn    = rule(comment(commentIsolation) + "-j RETURN")
	acceptAll      = rule(comment(commentPublished) + "-j ACCEPT")
	returnLoopback = rule("-m conntrack --ctorigdst 127.0.0.0/8 " + comment(commentPublished) + "-j RETURN")
)

func jumpAdmin(chain string) rule { return rule(comment(commentAdmin) + "-j " + chain) }

// addressRules accept what a container sends, and the replies to it.
func addressRules(p netip.Prefix) []rule {
	address := p.String()
	return []rule{
		rule("-d " + address + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
		rule("-s " + address + " -j ACCEPT"),
	}
}
