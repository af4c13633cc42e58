// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// commentFormer is that of the plugin isolation, which stood by itself until
// upstream's firewall took it in. It wrote to the same chains and never removed
// anything.
const commentStandalone = "CNI isolation plugin rules"

// formerToStage2 is all that it wrote of a bridge in stage 1.
func standaloneToStage2(bridge string) rule {
	return rule("-i " + bridge + " ! -o " + bridge + " " + comment(commentStandalone) + "-j " + chainStage2)
}

// Isolated returns the bridges that rules of a plugin isolate: this one's,
// upstream's, or the former one's. One that sends to stage 2 is isolated, and so
// it is to stay, whatever else is there of it.
func (s *Snapshot) Isolated() []policy.Bridge {
	found := map[string]policy.Bridge{}
	for _, name := range s.Families().List() {
		t := s.families[name].table
		for _, r := range t.rules[chainStage1].list {
			bridge := r.isolatedBridge()
			if bridge == "" {
				continue
			}
			b := found[bridge]
			b.Name, b.Families = bridge, b.Families.With(name)
			if b.IngressPolicy != policy.Isolated {
				b.IngressPolicy = policyOf(t, bridge)
			}
			found[bridge] = b
		}
	}
	return slices.Collect(maps.Values(found))
}

// isolates returns the bridge whose rule in stage 1 it is.
func (r rule) isolatedBridge() string {
	bridge := r.value("-i")
	if policy.CheckInterface(bridge) != nil {
		return ""
	}
	for _, text := range []string{commentPolicy(policy.SameBridge), commentPolicy(policy.Isolated), commentStandalone} {
		if r.key() == toStage2(text)(bridge).key() {
			return bridge
		}
	}
	return ""
}

func policyOf(t *table, bridge string) policy.IngressPolicy {
	if t.count(chainStage1, dropSameBridge(bridge)) > 0 {
		return policy.Isolated
	}
	return policy.SameBridge
}

// RemoveForeign removes all rules of the former plugin. Whatever they isolate must
// be isolated by others by then.
func (s *Snapshot) RemoveForeign() error {
	return s.each(func(f *family) error { return f.apply(planRemoveForeign) })
}

func planRemoveForeign(t *table) plan {
	var p plan
	for _, chain := range []string{chainForward, chainStage1, chainStage2} {
		var its []rule
		for _, r := range t.rules[chain].list {
			if r.value("--comment") == commentStandalone {
				its = append(its, r)
			}
		}
		p.deleteRules(t, chain, t.present(chain, its)...)
	}
	return p.withoutUnusedChains(t)
}
