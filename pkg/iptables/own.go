// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
)

// ownChains are the chains whose rules may be ones that upstream's plugin does not have.
var ownChains = []string{chainPublished, chainStage1, chainStage2}

// RemoveOwn removes what upstream's plugin would not have made: the chains of published
// ports, and the rules of interfaces other than bridges. CNI-FORWARD, the operator's
// chain and the stages stay, with the isolation of every bridge. A chain that another
// program uses stays, too, without rules of bridges.
func (s *Snapshot) RemoveOwn() error {
	return s.each(func(f *family) error {
		if f.before != nil { // Apply changed what was read
			if err := f.read(); err != nil {
				return err
			}
		}
		return f.apply(planRemoveOwn)
	})
}

func planRemoveOwn(t *table) plan {
	var p plan
	for _, chain := range ownChains {
		p.deleteRules(t, chain, t.matching(chain, isOwn)...)
	}
	return slices.Concat(p, p.deletePair(t, publishedChains))
}

// isOwn reports whether a rule has a comment that upstream's plugin does not write.
func isOwn(r rule) bool {
	text := r.value("--comment")
	return text == commentPublished || text == commentStrict || strings.HasPrefix(text, commentGroup) && strings.HasSuffix(text, commentGroupEnd)
}
