// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Unguarded is an interface that FORWARD keeps packets from, but for those of a bridge:
// the plugin accepts them first.
type Unguarded struct{ Program, Bridge, Interface string }

// Error names both interfaces.
func (u *Unguarded) Error() string {
	return fmt.Sprintf("%s: FORWARD keeps packets from %q, and accepts those from %q first",
		u.Program, u.Interface, u.Bridge)
}

// ForeignDrops returns each Unguarded interface, and names what the plugin left in the
// other variant of iptables. The driver does not look for what drops a packet after an
// accept of iptables.
func (s *Snapshot) ForeignDrops() (policy.Obstacles, error) {
	former, err := s.formers()
	var errs []error
	for _, f := range former {
		errs = append(errs, fmt.Errorf("%s: %w: %s", f.name, ErrFormer, f.list))
	}
	for _, name := range s.Families().List() {
		f := s.families[name]
		for _, u := range newForeign(f.table, nil, sync.OnceValue(f.table.allRules)).unguarded() {
			u.Program = programNames[name].list
			errs = append(errs, u)
		}
	}
	return policy.Obstacles{Possible: errors.Join(errs...)}, err
}

// unguarded returns the interfaces that the plugin's accepts open.
func (f *foreign) unguarded() []*Unguarded {
	at, copies := f.t.find(chainForward, jumpForward)
	if copies.all == 0 {
		return nil
	}
	list := f.t.rules[chainForward].list
	ahead := f.effectOfAll(list[:at])
	later := f.effectOfAll(list[at:])
	behind := outsOf(later.guards)
	if strings.Contains(f.t.output, "-P FORWARD DROP\n") {
		maps.Copy(behind, outsOf(slices.Concat(ahead.accepts, later.accepts)))
	}
	var found []*Unguarded
	for _, out := range slices.Sorted(maps.Keys(behind)) {
		for _, in := range slices.Sorted(maps.Keys(f.own())) {
			isGuarded := func(g route) bool { return g.out == out && (g.in == "" || g.in == in) }
			if !slices.ContainsFunc(ahead.guards, isGuarded) && f.t.count(chainForward, rule("-o "+out+" -j ACCEPT")) == 0 {
				found = append(found, &Unguarded{Bridge: in, Interface: out})
			}
		}
	}
	return found
}

// effectOfAll returns the effect of those rules of FORWARD that other programs have.
func (f *foreign) effectOfAll(rules []rule) effect {
	var all effect
	for _, r := range rules {
		if f.isForeign(r) {
			e := f.effectOf(r, route{})
			all.guards, all.accepts = append(all.guards, e.guards...), append(all.accepts, e.accepts...)
		}
	}
	return all
}

func outsOf(routes []route) map[string]bool {
	outs := map[string]bool{}
	for _, r := range routes {
		outs[r.out] = true
	}
	return outs
}
