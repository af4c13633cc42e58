// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// commentStandalone is the comment of the standalone plugin "isolation", which
// upstream's firewall took in. It wrote to the same chains, with a jump to stage 2
// as all that it wrote of a bridge in stage 1. It never removed anything.
const commentStandalone = "CNI isolation plugin rules"

// isolationComments are the comments that a bridge's jump to stage 2 can have.
var isolationComments = []string{
	commentPolicy(policy.SameBridge), commentPolicy(policy.Isolated), commentStandalone,
}

// Isolated returns the bridges that a plugin isolates: this one, upstream's or the
// standalone one. A bridge that jumps to stage 2 is isolated, whatever other rules
// it has or lacks, and is to stay so.
func (s *Snapshot) Isolated() []policy.Bridge {
	found := map[string]policy.Bridge{}
	for _, name := range s.Families().List() {
		t := s.families[name].table
		for _, bridge := range t.isolatedBridges() {
			b := found[bridge]
			b.Name, b.Families = bridge, b.Families.With(name)
			if b.IngressPolicy != policy.Isolated {
				b.IngressPolicy = t.policyOf(bridge)
			}
			found[bridge] = b
		}
	}
	return slices.Collect(maps.Values(found))
}

// isolatedBridges returns the bridges of the jumps from stage 1 to stage 2.
func (t *table) isolatedBridges() []string {
	var bridges []string
	for _, r := range t.rules[chainStage1].list {
		bridge := r.value("-i")
		jumps := func(text string) bool { return r.key() == toStage2(text)(bridge).key() }
		if policy.CheckInterface(bridge) == nil && slices.ContainsFunc(isolationComments, jumps) {
			bridges = append(bridges, bridge)
		}
	}
	return bridges
}

// policyOf returns the policy of an isolated bridge.
func (t *table) policyOf(bridge string) policy.IngressPolicy {
	if t.count(chainStage1, dropSameBridge(bridge)) > 0 {
		return policy.Isolated
	}
	return policy.SameBridge
}

// RemoveForeign removes all rules of the standalone plugin. Other rules must
// isolate its bridges by then.
func (s *Snapshot) RemoveForeign() error {
	return s.each(func(f *family) error { return f.apply(planRemoveForeign) })
}

func planRemoveForeign(t *table) plan {
	var p plan
	for _, chain := range []string{chainForward, chainStage1, chainStage2} {
		p.deleteRules(t, chain, t.matching(chain, isStandalone)...)
	}
	return p.deletingUnusedChains(t)
}

func isStandalone(r rule) bool { return r.value("--comment") == commentStandalone }
