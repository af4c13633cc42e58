// SPDX-License-Identifier: Apache-2.0

package iptables

import "github.com/cni-isolation/firewall/pkg/policy"

// Upstream's plugin knows no interface but the bridge. So the rules of the others have
// a comment that names the bridge: networks that share an interface, as two bridges in
// one VRF do, have rules of their own for it, and each can go alone.
const (
	commentGroup    = "CNI firewall plugin rules (network of "
	commentGroupEnd = ")"
)

func groupComment(bridge string) string { return commentGroup + bridge + commentGroupEnd }

// each returns a rule for each interface of a network. The one for the bridge has the
// comment.
func each(b policy.Bridge, text string, of func(name, text string) rule) []rule {
	rules := []rule{of(b.Name, text)}
	for _, name := range b.Interfaces {
		rules = append(rules, of(name, groupComment(b.Name)))
	}
	return rules
}

func acceptPublished(b policy.Bridge) []rule {
	return each(b, commentPublished, func(name, text string) rule {
		return rule("-o " + name + " -m conntrack --ctstate DNAT --ctdir ORIGINAL " + comment(text) + "-j " + chainAccept)
	})
}

func acceptReplies(b policy.Bridge) []rule {
	return each(b, commentPublished, func(name, text string) rule {
		return rule("-i " + name + " -m conntrack --ctstate DNAT --ctdir REPLY " + comment(text) + "-j " + chainAccept)
	})
}

func dropToGroup(b policy.Bridge) []rule { return each(b, commentIsolation, dropTo) }

func dropToBridge(bridge string) rule { return dropTo(bridge, commentIsolation) }

func dropTo(name, text string) rule { return rule("-o " + name + " " + comment(text) + "-j DROP") }

func dropSameBridgeOf(b policy.Bridge) []rule { return []rule{dropSameBridge(b.Name)} }

func dropSameBridge(bridge string) rule {
	return within(bridge, bridge, commentPolicy(policy.Isolated), "DROP")
}

// dropWithinGroup drops what one interface of a network sends to another, or back to
// itself, but for the bridge.
func dropWithinGroup(b policy.Bridge) []rule {
	rules := pairs(b, "DROP")
	for _, name := range b.Interfaces {
		rules = append(rules, within(name, name, groupComment(b.Name), "DROP"))
	}
	return rules
}

func returnWithinGroup(b policy.Bridge) []rule { return pairs(b, "RETURN") }

// pairs returns a rule for each ordered pair of two interfaces of a network.
func pairs(b policy.Bridge, target string) []rule {
	if len(b.Interfaces) == 0 {
		return nil
	}
	var rules []rule
	for _, in := range b.Group() {
		for _, out := range b.Group() {
			if in != out {
				rules = append(rules, within(in, out, groupComment(b.Name), target))
			}
		}
	}
	return rules
}

func within(in, out, text, target string) rule {
	return rule("-i " + in + " -o " + out + " " + comment(text) + "-j " + target)
}

func bridgeToStage2(p policy.IngressPolicy) func(policy.Bridge) []rule {
	jump := toStage2(commentPolicy(p))
	return func(b policy.Bridge) []rule { return []rule{jump(b.Name)} }
}

// othersToStage2 returns the jumps to stage 2 of the interfaces beside the bridge.
func othersToStage2(b policy.Bridge) []rule {
	if len(b.Interfaces) == 0 {
		return nil
	}
	jump := toStage2(groupComment(b.Name))
	var rules []rule
	for _, name := range b.Interfaces {
		rules = append(rules, jump(name))
	}
	return rules
}

// toStage2 returns the function that makes an interface's jump to stage 2.
func toStage2(text string) func(name string) rule {
	rest := " " + comment(text) + "-j " + chainStage2
	return func(name string) rule { return rule("-i " + name + " ! -o " + name + rest) }
}

// dropUntracked drops what conntrack does not know: nothing tells that it is a reply.
func dropUntracked(b policy.Bridge) []rule { return strictDrops(b, "--ctstate INVALID,UNTRACKED") }

// dropLoopback drops what was published on a loopback address.
func dropLoopback(b policy.Bridge) []rule { return strictDrops(b, "--ctorigdst 127.0.0.0/8") }

// dropUnpublished drops connections that begin elsewhere and were not redirected.
func dropUnpublished(b policy.Bridge) []rule {
	return strictDrops(b, "! --ctstate DNAT --ctdir ORIGINAL")
}

// dropNew drops connections that begin elsewhere.
func dropNew(b policy.Bridge) []rule { return strictDrops(b, "--ctdir ORIGINAL") }

// strictDrops returns a rule for each interface of a network, which drops what comes in by
// another one.
func strictDrops(b policy.Bridge, match string) []rule {
	return each(b, commentStrict, func(name, text string) rule {
		return rule("! -i " + name + " -o " + name + " -m conntrack " + match + " " + comment(text) + "-j DROP")
	})
}

// sharedInterfaces returns the interfaces that two networks may share: those of every
// network that is more than a bridge.
func sharedInterfaces(bridges []policy.Bridge) map[string]bool {
	shared := map[string]bool{}
	for _, b := range bridges {
		if len(b.Interfaces) == 0 {
			continue
		}
		for _, name := range b.Group() {
			shared[name] = true
		}
	}
	return shared
}
