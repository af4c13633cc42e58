// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// bridgeRow is rules that a bridge can have, and which bridges must have them. The
// bridge stands for its network: for its group of interfaces.
type bridgeRow struct {
	chain  string
	rules  func(policy.Bridge) []rule
	wanted func(policy.Bridge) bool
	beside bool // wanted only where the table stands beside
}

// bridgeRows has every rule that a bridge can have, in the kernel's order.
//
// Published ports go by the direction of the connection, as conntrack saw it begin. A
// packet of the original direction is accepted if the bridge that it leaves by allows
// published ports. A reply is accepted wherever it leads: the kernel has such a
// connection only because its first packet passed. The table drops a first packet that
// was forged; without the table, a reply is not exempt. Only redirected packets see
// these rules. All other packets pass no rule for them, however many bridges there are.
// Where the plugin forwards nothing, it accepts nothing, and the stages hold for all
// packets.
//
// In the stages, most networks are their bridge alone, with upstream's rules. A network
// that is routed by other interfaces, too, has rules for each of them. Packets among its
// own interfaces stay on the same bridge, so they return or are dropped ahead of the
// jumps to stage 2. A packet to the gateway's own port comes in by the bridge and leaves
// by it. So such a bridge has no rule for that: the flags of its ports separate the
// containers.
//
// A strict bridge drops in stage 1 what comes in by any other interface: there, every
// packet passes by. Replies to what its containers began go on to the source's own rules.
// Published ports do, too, which matters without the table: with it, they were accepted
// already. One that is published on loopback is for the host alone: see loopbackReturns.
//
// Networks that share no interface have no order among each other. RETURN in stage 2
// goes on in stage 1, where only rules of the bridge that the packet came from can
// match; those stand before the jump or do nothing.
var bridgeRows = []bridgeRow{
	{chainPublished, acceptPublished, publishes, false},
	{chainPublished, acceptReplies, publishesIsolated, true},
	{chainStage1, dropSameBridgeOf, separatesByRule, false},
	{chainStage1, dropWithinGroup, separates, false},
	{chainStage1, returnWithinGroup, isolatesOutside, false},
	{chainStage1, dropUntracked, isStrict, false},
	{chainStage1, dropLoopback, isStrictIPv4, false},
	{chainStage1, dropUnpublished, publishesStrict, false},
	{chainStage1, dropNew, isStrictUnpublished, false},
	{chainStage1, bridgeToStage2(policy.SameBridge), isolatesOutside, false},
	{chainStage1, bridgeToStage2(policy.Isolated), separates, false},
	{chainStage1, othersToStage2, isolates, false},
	{chainStage2, dropToGroup, isolates, false},
}

func publishes(b policy.Bridge) bool { return b.Forwarded && b.PublishedPorts == policy.Allow }

func publishesIsolated(b policy.Bridge) bool { return publishes(b) && isolates(b) }

func isolates(b policy.Bridge) bool { return b.IngressPolicy.Isolates() }

func separates(b policy.Bridge) bool { return b.IngressPolicy.Separates() }

func separatesByRule(b policy.Bridge) bool { return separates(b) && len(b.Interfaces) == 0 }

// isolatesOutside reports whether a bridge is isolated, and its containers reach each
// other.
func isolatesOutside(b policy.Bridge) bool { return isolates(b) && !separates(b) }

func isStrict(b policy.Bridge) bool { return b.IngressPolicy.IsStrict() }

// publishesStrict asks for what a bridge is to drop, whether or not it forwards anything by
// now: see layout.forbidden.
func publishesStrict(b policy.Bridge) bool { return isStrict(b) && b.PublishedPorts == policy.Allow }

func isStrictUnpublished(b policy.Bridge) bool { return isStrict(b) && b.PublishedPorts == policy.Deny }

// isStrictIPv4 asks for the rule of a loopback address, which ip6tables does not read.
func isStrictIPv4(b policy.Bridge) bool { return publishesStrict(b) && b.Families.Has(policy.IPv4) }

// isWanted reports whether a bridge must have the rules of the row.
func (row bridgeRow) isWanted(b policy.Bridge, alone bool) bool {
	return row.wanted(b) && !(row.beside && alone)
}

// wantedRules returns the rules that bridges must have in a chain.
func wantedRules(chain string, alone bool, bridges ...policy.Bridge) []rule {
	return rulesOf(chain, bridges, func(row bridgeRow, b policy.Bridge) bool { return row.isWanted(b, alone) })
}

// unwantedRules returns the rules that bridges must not have in a chain. What one
// network on a bridge wants is not unwanted by another.
func unwantedRules(chain string, alone bool, bridges []policy.Bridge) []rule {
	wanted := map[rule]bool{}
	for _, r := range wantedRules(chain, alone, bridges...) {
		wanted[r] = true
	}
	all := rulesOf(chain, bridges, func(row bridgeRow, b policy.Bridge) bool { return !row.isWanted(b, alone) })
	return slices.DeleteFunc(all, func(r rule) bool { return wanted[r] })
}

// rulesOf returns the rules of a chain's rows for which a function is true, each once.
func rulesOf(chain string, bridges []policy.Bridge, has func(bridgeRow, policy.Bridge) bool) []rule {
	var rules []rule
	for _, row := range bridgeRows {
		if row.chain != chain {
			continue
		}
		for _, b := range bridges {
			if has(row, b) {
				rules = append(rules, row.rules(b)...)
			}
		}
	}
	if len(bridges) == 1 {
		return rules
	}
	return unique(rules)
}

// unique returns the first of equal rules.
func unique(rules []rule) []rule {
	seen := make(map[rule]bool, len(rules))
	return slices.DeleteFunc(rules, func(r rule) bool {
		again := seen[r]
		seen[r] = true
		return again
	})
}
