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
				_ = planApply(empty, policy.IPv4, rs).script()
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
			return func() int { return 1 - len(planApply(listed, policy.IPv4, rs)) }
		},
		"render": func(rs policy.RuleSet) func() int {
			empty := mustParse(newFakeTable("").list())
			return func() int { return len(planApply(empty, policy.IPv4, rs).script()) }
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

// TestGrowthAhead wants the search ahead of the isolation to grow no faster than the
// rules and chains of other programs.
func TestGrowthAhead(t *testing.T) {
	rs := policy.Desired(attachmentsOn(2)...)
	growth.LinearCount(t, func(n int) func() int {
		listing := crowd(n, true) + rendered(rs)
		return func() int { return 1 + len(newBypass(mustParse(listing), nil).found()) }
	})
}

// crowd returns the listing of n chains of another program, each with ten rules, and the
// jumps to them in FORWARD. None accepts what comes from a container.
func crowd(n int, withJumps bool) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "-N OTHER-%d\n", i)
		for port := range 10 {
			fmt.Fprintf(&text, "-A OTHER-%d -i lan0 -p tcp -m comment --comment \"service %d\" "+
				"-m tcp --dport %d -j ACCEPT\n", i, i, 1024+port)
		}
		if withJumps {
			fmt.Fprintf(&text, "-A FORWARD -d 10.%d.%d.0/24 -j OTHER-%d\n", i/256, i%256, i)
		}
	}
	return text.String()
}

// BenchmarkForeign measures an ADD beside 5,000 rules of other programs: where none of
// their jumps is in FORWARD, and where all are, ahead of the isolation.
func BenchmarkForeign(b *testing.B) {
	rs := policy.Desired(attachmentsOn(5)...)
	beside, ahead := crowd(500, false)+rendered(rs), crowd(500, true)+rendered(rs)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustParse(beside)
		}
	})
	for name, listing := range map[string]string{"beside": beside, "ahead": ahead} {
		parsed := mustParse(listing)
		b.Run("compare/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				planApply(parsed, policy.IPv4, rs)
			}
		})
	}
}

// rendered returns the listing of a table that holds a rule set, in the order of the
// layouts.
func rendered(rs policy.RuleSet) string {
	var text strings.Builder
	text.WriteString(newFakeTable("").list())
	all := layouts(policy.IPv4, rs, mustParse(newFakeTable("").list()))
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
