// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// BenchmarkRender measures the plan and its script for an empty host.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("bridges=%d", n), func(b *testing.B) {
			rs := policy.Desired(attachmentsOn(n)...)
			empty := mustParse(newFakeTable("").list())
			b.ReportAllocs()
			for b.Loop() {
				_ = planApply(empty, rs).script()
			}
		})
	}
}

// TestGrowth wants the work for a host to grow no faster than its bridges. The
// listings are put together here, because the fake table's own work grows faster.
func TestGrowth(t *testing.T) {
	for name, prepare := range map[string]func(rs policy.RuleSet) func() int{
		"parse": func(rs policy.RuleSet) func() int {
			listing := rendered(rs)
			return func() int { return len(mustParse(listing).rules[chainStage1].list) }
		},
		"compare": func(rs policy.RuleSet) func() int {
			listed := mustParse(rendered(rs))
			return func() int { return 1 - len(planApply(listed, rs)) }
		},
		"render": func(rs policy.RuleSet) func() int {
			empty := mustParse(newFakeTable("").list())
			return func() int { return len(planApply(empty, rs).script()) }
		},
		"remove": func(rs policy.RuleSet) func() int {
			listed := mustParse(rendered(rs))
			return func() int { return len(planRemove(listed, rs).script()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			growth.LinearCount(t, func(n int) func() int { return prepare(policy.Desired(attachmentsOn(n)...)) })
		})
	}
}

// rendered returns the listing of a table that holds a rule set, in the order of the
// layouts.
func rendered(rs policy.RuleSet) string {
	var text strings.Builder
	text.WriteString(newFakeTable("").list())
	all := layouts(rs, mustParse(newFakeTable("").list()))
	for _, chain := range chainsOf(all, rs.AdminChains) {
		if chain != chainForward {
			fmt.Fprintf(&text, "-N %s\n", chain)
		}
	}
	for _, l := range all {
		for _, block := range append(l.blocks, l.unordered, l.last) {
			for _, r := range block {
				fmt.Fprintf(&text, "-A %s %s\n", l.chain, r)
			}
		}
	}
	return text.String()
}
