// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// bypass finds the rules of FORWARD by which a packet that the isolation drops
// can get past it, if they stand ahead of it.
type bypass struct {
	t        *table
	isolated func() map[string]bool // the interfaces of isolated networks
	strict   func() map[string]bool // those of strict ones
	rules    func() map[string][]rule
	accepts  map[string]bool // by chain
}

// newBypass returns the bypass of a table. Most of what it may need is only made when a
// rule stands ahead of the isolation that asks for it.
func newBypass(t *table, bridges []policy.Bridge) *bypass {
	return &bypass{
		t:        t,
		isolated: sync.OnceValue(func() map[string]bool { return isolatedInterfaces(t, bridges) }),
		strict:   sync.OnceValue(func() map[string]bool { return strictInterfaces(t, bridges) }),
		rules:    sync.OnceValue(t.allRules),
		accepts:  map[string]bool{},
	}
}

// isolatedInterfaces returns the interfaces that are isolated, or are to be. Bridges of
// other plugins are in stage 2, too.
func isolatedInterfaces(t *table, bridges []policy.Bridge) map[string]bool {
	isOpen := func(b policy.Bridge) bool { return !isolates(b) }
	return interfaces(t, slices.DeleteFunc(slices.Clone(bridges), isOpen), chainStage2)
}

// strictInterfaces returns the interfaces that are strict, or are to be.
func strictInterfaces(t *table, bridges []policy.Bridge) map[string]bool {
	isOther := func(b policy.Bridge) bool { return !isStrict(b) }
	found := interfaces(t, slices.DeleteFunc(slices.Clone(bridges), isOther))
	for _, r := range t.rules[chainStage1].list {
		if r.value("!") == "-i" && r.target() == "DROP" {
			found[r.value("-o")] = true
		}
	}
	return found
}

// interfaces returns those of bridges, and those to which rules in some chains lead.
func interfaces(t *table, bridges []policy.Bridge, chains ...string) map[string]bool {
	found := map[string]bool{}
	for _, b := range bridges {
		for _, name := range b.Group() {
			found[name] = true
		}
	}
	for _, chain := range chains {
		for _, r := range t.rules[chain].list {
			if out := r.value("-o"); out != "" {
				found[out] = true
			}
		}
	}
	return found
}

// ahead returns the rules of FORWARD ahead of the isolation: none if there is no
// isolation to be ahead of.
func (b *bypass) ahead() []rule {
	at, _ := b.t.find(chainForward, jumpStage1)
	return b.t.rules[chainForward].list[:at]
}

// found returns the rules ahead of the isolation by which a packet may get past it.
func (b *bypass) found() []rule {
	var found []rule
	for _, r := range b.ahead() {
		if isBypass(r) || b.isPossible(r) {
			found = append(found, r)
		}
	}
	return found
}

// guard returns what the isolation must stand ahead of.
func (b *bypass) guard() guard {
	ahead := b.ahead()
	g := guard{jumpStage1, len(b.t.rules[chainForward].list), len(b.t.rules[chainForward].list)}
	if at := slices.IndexFunc(ahead, isBypass); at >= 0 {
		g.certain = at
	}
	if at := slices.IndexFunc(ahead, b.isPossible); at >= 0 {
		g.possible = at
	}
	return g
}

// isBypass reports whether a rule leads to where the plugin accepts packets, however it
// is written, but for the jump that stands ahead of the isolation on purpose.
func isBypass(r rule) bool {
	if !strings.Contains(string(r), "CNI-") {
		return false
	}
	switch r.target() {
	case chainCNIForward, chainPublished, chainAccept:
		return r.key() != jumpPublished.key()
	}
	return false
}

// isPossible reports whether a rule of FORWARD may let a packet by. RETURN and a goto
// leave FORWARD for its policy.
func (b *bypass) isPossible(r rule) bool {
	if r.key() == jumpPublished.key() {
		return false
	}
	w := r.way()
	return b.mayTake(w) && (w.target == "RETURN" || w.isGoto || b.isAccept(w.target))
}

// mayTake reports whether a rule may match a packet from one isolated bridge to another,
// or from anywhere to a strict one: whether it names no other interface.
func (b *bypass) mayTake(w way) bool {
	return mayName(w.out, b.isolated()) && mayName(w.in, b.isolated()) || mayName(w.out, b.strict()) && len(b.strict()) > 0
}

// mayName reports whether the interface that a rule names may be one of some. It may
// name none, and a trailing '+' stands for any name that begins so.
func mayName(name string, some map[string]bool) bool {
	return name == "" || strings.HasSuffix(name, "+") || some[name]
}

// isAccept reports whether a target accepts a packet, or is a chain by which one that
// does is reached. A program behind a queue accepts what it likes.
func (b *bypass) isAccept(target string) bool {
	switch target {
	case "ACCEPT", "QUEUE", "NFQUEUE":
		return true
	}
	accepts, known := b.accepts[target]
	if !known {
		b.accepts[target] = false // for chains that jump in a circle
		accepts = slices.ContainsFunc(b.rules()[target], func(r rule) bool {
			w := r.way()
			return b.mayTake(w) && b.isAccept(w.target)
		})
		b.accepts[target] = accepts
	}
	return accepts
}
