// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// foreign finds how other programs keep packets from interfaces of their own: Docker from
// docker0, libvirt from virbr0. The jump to CNI-FORWARD comes behind these rules, or its
// accepts would open what they close.
//
// It comes behind nothing else. A rule that drops what goes elsewhere, such as the
// reject at the end of FORWARD on RHEL, would cut containers off, which upstream's plugin
// does not let happen. Nor does it get behind anything if the operator's chain drops:
// that chain would then come behind the accepts of the other programs.
type foreign struct {
	t       *table
	own     func() map[string]bool // interfaces of networks, as far as rules and a rule set tell
	rules   func() map[string][]rule
	effects map[visit]effect
}

// visit is a chain on the way of packets that match the rules which lead there.
type visit struct {
	chain string
	by    route
}

// route is where packets come from, and where they go.
type route struct {
	in, out    string // in is one of the plugin's own interfaces, out one of another program; empty for any
	fromUplink bool
}

// effect is what a rule of another program does with packets, along with the chains that
// it leads to.
type effect struct {
	guards  []route // from where to where it drops them
	accepts []route // and accepts them
	cuts    bool    // it may drop some that go elsewhere
}

func newForeign(t *table, bridges []policy.Bridge, rules func() map[string][]rule) *foreign {
	own := sync.OnceValue(func() map[string]bool { return interfaces(t, bridges, chainStage2, chainPublished) })
	return &foreign{t, own, rules, map[visit]effect{}}
}

// end returns the position that the jump to CNI-FORWARD must not stand ahead of: that
// behind the last rule that guards an interface. It is 0 where there is none, or none
// that the jump may get behind.
func (f *foreign) end() int {
	end := 0
	for i, r := range f.t.rules[chainForward].list {
		if !f.isForeign(r) {
			continue
		}
		e := f.effectOf(r, route{})
		if e.cuts || r.letsAllOut() || r.target() == "RETURN" {
			break
		}
		if len(e.guards) > 0 {
			end = i + 1
		}
	}
	if end > 0 && f.operatorDrops() {
		return 0
	}
	return end
}

// isForeign reports whether a rule of FORWARD is another program's.
func (f *foreign) isForeign(r rule) bool { return !slices.Contains(policy.PluginChains, r.target()) }

// operatorDrops reports whether a chain of the operator's drops anything.
func (f *foreign) operatorDrops() bool {
	return slices.ContainsFunc(f.t.rules[chainCNIForward].list, func(r rule) bool {
		if !isAdminJump(r) {
			return false
		}
		e := f.chainEffect(visit{r.target(), route{}})
		return e.cuts || len(e.guards) > 0
	})
}

// effectOf returns the effect of a rule on packets that come to it by a route.
func (f *foreign) effectOf(r rule, by route) effect {
	w := r.way()
	by, relevant := f.narrow(by, w)
	if !relevant {
		return effect{}
	}
	switch w.target {
	case "DROP", "REJECT", "QUEUE", "NFQUEUE":
		return f.dropping(r, by)
	case "ACCEPT":
		if by.out != "" && !by.fromUplink {
			return effect{accepts: []route{by}}
		}
		return effect{}
	case "RETURN":
		return effect{}
	}
	e := f.chainEffect(visit{w.target, by})
	e.cuts = e.cuts || w.isGoto && by.out == ""
	return e
}

// dropping returns the effect of a rule that drops. Invalid packets are of no connection
// that a container could have.
func (f *foreign) dropping(r rule, by route) effect {
	switch {
	case r.value("--ctstate") == "INVALID":
		return effect{}
	case by.out == "":
		return effect{cuts: true}
	case by.fromUplink:
		return effect{}
	}
	return effect{guards: []route{by}}
}

// narrow returns the route of the packets that match a rule, too, and whether there can
// be any that a container sends, or that come to it from the world.
func (f *foreign) narrow(by route, w way) (narrower route, relevant bool) {
	if in := named(w.in); in != "" {
		switch {
		case f.own()[in]:
			by.in = in
		case f.t.uplinks()[in]:
			by.fromUplink = true
		default:
			return by, false // from an interface of another program
		}
	}
	if out := named(w.out); out != "" && !f.own()[out] && !f.t.uplinks()[out] {
		by.out = out
	}
	return by, true
}

// named returns the name of an interface, or nothing for a pattern.
func named(name string) string {
	if strings.HasSuffix(name, "+") {
		return ""
	}
	return name
}

// chainEffect returns the effect of all rules of a chain.
func (f *foreign) chainEffect(v visit) effect {
	if e, known := f.effects[v]; known {
		return e
	}
	f.effects[v] = effect{} // for chains that jump in a circle
	var all effect
	for _, r := range f.rules()[v.chain] {
		e := f.effectOf(r, v.by)
		all.guards, all.accepts = append(all.guards, e.guards...), append(all.accepts, e.accepts...)
		all.cuts = all.cuts || e.cuts
	}
	f.effects[v] = all
	return all
}
