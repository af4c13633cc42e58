// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// removedAtOnce removes a rule set from iptables-nft without its programs, in one
// transaction for both families, and reports whether it did. Each program would wait for
// the kernel, one after the other. Where it did not, the programs do it: they, too, say
// what is wrong.
func (s *Snapshot) removedAtOnce(rs policy.RuleSet) bool {
	if s.generation == 0 {
		return false
	}
	began := time.Now()
	plans := map[*family]plan{}
	var all []policy.Deletion
	for _, name := range s.Families().List() {
		f := s.families[name]
		if !isVariant(f.list, "nft") {
			return false
		}
		plans[f] = planRemove(f.table, rs.In(name))
		all = append(all, plans[f].deletions(name, f.table)...)
	}
	if len(all) == 0 {
		return true
	}
	if s.kernel.DeleteRules(s.generation, all) != nil {
		return false
	}
	for f, p := range plans {
		journal.Tell(filepath.Base(f.list), began, p.steps, nil)
	}
	return true
}

// deletions returns where a plan that only deletes finds what it deletes, by chain.
func (p plan) deletions(f policy.Family, t *table) []policy.Deletion {
	var all []policy.Deletion
	for _, c := range p {
		i := slices.IndexFunc(all, func(d policy.Deletion) bool { return d.Chain == c.chain })
		if i < 0 {
			i = len(all)
			all = append(all, policy.Deletion{Family: f, Chain: c.chain, Of: len(t.rules[c.chain].list)})
		}
		if c.op == deleteChain {
			all[i].Whole = true
			continue
		}
		all[i].Places = append(all[i].Places, t.places(c.chain, c.rule)...)
	}
	return all
}

// places returns where the copies of a rule stand in a chain, from 0.
func (t *table) places(chain string, r rule) (places []int) {
	first, n := t.find(chain, r)
	list := t.rules[chain].list
	for at := first; len(places) < n.all; at++ {
		if at == first || list[at].key() == r.key() {
			places = append(places, at)
		}
	}
	return places
}
