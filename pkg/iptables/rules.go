// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"
	"strings"

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

// commentOld stands in the place of commentIsolation in the rules of upstream's plugin
// 1.1 to 1.6, which knew no policy isolated. From 1.7 on, only a bridge's jump to stage 2
// has it.
const commentOld = "CNI firewall plugin rules (ingressPolicy: same-bridge)"

// withoutOldComment returns the rule as upstream's plugin has written it since 1.7. To
// whatever compares rules, both are one.
func (r rule) withoutOldComment() (today rule, isOld bool) {
	if !strings.Contains(string(r), commentOld) || r.target() == chainStage2 {
		return r, false
	}
	return rule(strings.Replace(string(r), commentOld, commentIsolation, 1)), true
}

// withOldComment returns the rule as upstream's plugin 1.1 to 1.6 wrote it.
func (r rule) withOldComment() rule {
	return rule(strings.Replace(string(r), commentIsolation, commentOld, 1))
}

// commentPublished marks the rules that upstream does not have.
const commentPublished = "CNI firewall plugin rules (publishedPorts: allow)"

// commentStrict marks the rules of strict bridges, which upstream does not have either.
var commentStrict = commentPolicy(policy.Strict)

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
