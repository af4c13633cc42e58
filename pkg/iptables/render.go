// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// rulesOfBridge are the rules of one bridge, by chain, in the kernel's order.
type rulesOfBridge struct {
	stage1, stage2, accept []rule
}

// bridgeRules returns the rules of a bridge.
//
// The exemption of published ports goes by the direction of the connection, as
// conntrack saw it begin. Towards the bridge that serves the port, a packet of
// the original direction passes stage 2 if that bridge allows it. The replies
// pass stage 1, wherever they lead: the kernel has such a connection only
// because its first packet passed.
//
// A chain's rules of one bridge need no place relative to those of another:
// RETURN in stage 2 goes on in stage 1, where only the rules of the bridge that
// the packet came from can match, and those stand before the jump or do nothing.
func bridgeRules(b policy.Bridge) rulesOfBridge {
	var r rulesOfBridge
	allow := b.PublishedPorts == policy.Allow
	if allow {
		r.accept = append(r.accept, acceptPublished(b.Name))
	}
	if !b.IngressPolicy.Isolates() {
		return r
	}
	if allow {
		r.stage1 = append(r.stage1, passReplies(b.Name))
		r.stage2 = append(r.stage2, passPublished(b.Name))
	}
	if b.IngressPolicy == policy.Isolated {
		if allow {
			r.stage1 = append(r.stage1, passHairpin(b.Name))
		}
		r.stage1 = append(r.stage1, dropSameBridge(b.Name))
	}
	r.stage1 = append(r.stage1, toStage2(b.Name, b.IngressPolicy))
	r.stage2 = append(r.stage2, dropToBridge(b.Name))
	return r
}

// everyBridgeRule returns every rule that a bridge of that name can have, or
// that upstream's plugin can have left for it.
func everyBridgeRule(name string) rulesOfBridge {
	return rulesOfBridge{
		stage1: []rule{
			passReplies(name), passHairpin(name), dropSameBridge(name),
			toStage2(name, policy.SameBridge), toStage2(name, policy.Isolated),
		},
		stage2: []rule{passPublished(name), dropToBridge(name)},
		accept: []rule{acceptPublished(name)},
	}
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

// published ends a rule about connections that the host redirected.
func published(interfaces, direction, verdict string) rule {
	return rule(interfaces + " -m conntrack --ctstate DNAT --ctdir " + direction + " " + comment(commentPublished) + "-j " + verdict)
}

func passReplies(bridge string) rule { return published("-i "+bridge, "REPLY", "RETURN") }

func passHairpin(bridge string) rule {
	return published("-i "+bridge+" -o "+bridge, "ORIGINAL", "RETURN")
}

func passPublished(bridge string) rule { return published("-o "+bridge, "ORIGINAL", "RETURN") }

// acceptPublished lets published ports work where FORWARD's policy is DROP.
func acceptPublished(bridge string) rule { return published("-o "+bridge, "ORIGINAL", "ACCEPT") }

// addressRules forward what a container sends, and the answers to it.
func addressRules(p netip.Prefix) []rule {
	address := p.String()
	return []rule{
		rule("-d " + address + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
		rule("-s " + address + " -j ACCEPT"),
	}
}
