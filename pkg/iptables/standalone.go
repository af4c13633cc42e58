// SPDX-License-Identifier: Apache-2.0

package iptables

import (
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
