// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// The orders of the jumps in FORWARD. A host with isolation stages, whoever made them,
// keeps the jump to them ahead of everything that is accepted.
//
// Published ports are exempt from the isolation where the table stands beside, which
// drops what pretends to be a redirected connection. Without the table, nothing tells
// whether the first packet of a connection was forged, so nothing is exempt: published
// ports can be reached from outside, and not between isolated bridges, as with
// upstream's plugin.
var (
	orderBeside = []rule{jumpPublished, jumpStage1, jumpForward}
	orderAlone  = []rule{jumpStage1, jumpPublished, jumpForward}
)

// forwardLayout returns the layout of FORWARD with some of the jumps.
//
// The isolation must stand ahead of every rule by which a packet gets to the plugin's
// accepts. It is put ahead of rules of other programs that may let one by, too. These
// are no difference: Docker inserts its chains ahead of everything whenever it starts.
// The accepts come behind what keeps packets from interfaces of other programs.
func forwardLayout(t *table, rs policy.RuleSet, wanted map[rule]bool) layout {
	order := orderBeside
	if rs.Alone {
		order = orderAlone
	}
	isUnwanted := func(r rule) bool { return !wanted[r] }
	jumps := slices.DeleteFunc(slices.Clone(order), isUnwanted)
	b := newBypass(t, rs.Bridges)
	return layout{
		chain: chainForward, blocks: [][]rule{jumps}, guard: b.guard(),
		behind: behind{jumpForward, newForeign(t, rs.Bridges, b.rules).end()},
	}
}

// guard is a rule and the positions that it must stand ahead of. Where it only may be of
// no use behind a rule, it moves, and that it has to is no difference.
type guard struct {
	rule              rule
	certain, possible int
}

// limits returns the positions that a rule must stand ahead of, with a limit for all.
func (g guard) limits(r rule, limit int) (certain, possible int) {
	if r != g.rule {
		return limit, limit
	}
	return min(limit, g.certain), min(limit, g.possible)
}

// behind is a rule and the position that it must not stand ahead of; 0 for no such
// position. That it has to move is no difference: upstream's plugin puts it at the head.
type behind struct {
	rule     rule
	position int
}

// moves reports whether a rule must be put at that position, where it stands once all
// rules of other programs ahead of it have had their say.
func (b behind) moves(r rule, at, copies, limit int) bool {
	return r == b.rule && b.position > 0 && (copies == 0 || at < b.position || at > limit)
}
