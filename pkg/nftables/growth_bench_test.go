// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// listed returns the table of a fake kernel, as if all that a rule set wants in
// its sets had been listed. The fake lists all in one message, which has no room
// for as many as are meant here.
func listed(tb testing.TB, rs policy.RuleSet) *table {
	tb.Helper()
	k := newKernel()
	s, err := read(k.connect())
	if err == nil {
		err = s.Apply(policy.RuleSet{AdminChains: rs.AdminChains, Bridges: rs.Bridges[:1]}, nil)
	}
	if err == nil {
		s, err = read(k.connect())
	}
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range members(rs) {
		s.table.sets[m.set].elements[m.key] = m.in
		s.table.sets[m.set].complete = true
	}
	return s.table
}

// encoded is the bytes of a plan's requests.
func encoded(p plan) []byte {
	var b []byte
	for _, c := range p.changes {
		b = c.request.append(b, 0)
	}
	return b
}

// BenchmarkRender makes the changes and their bytes for an empty host.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("bridges=%d", n), func(b *testing.B) {
			rs := policy.Desired(crowd(n)...)
			b.ReportAllocs()
			for b.Loop() {
				_ = encoded(missing(&table{}, rs.AdminChains, members(rs)))
			}
		})
	}
}

// TestGrowth is about what is computed for a host with many bridges.
func TestGrowth(t *testing.T) {
	for name, prepare := range map[string]func(rs policy.RuleSet) func() int{
		"render": func(rs policy.RuleSet) func() int {
			return func() int { return len(encoded(missing(&table{}, rs.AdminChains, members(rs)))) }
		},
		"compare": func(rs policy.RuleSet) func() int {
			full := listed(t, rs)
			return func() int { return 1 - len(missing(full, rs.AdminChains, members(rs)).changes) }
		},
		"compare all but one": func(rs policy.RuleSet) func() int {
			return func() int { return len(closing(rs.Bridges, []string{rs.Bridges[0].Name})) }
		},
		"remove": func(rs policy.RuleSet) func() int {
			full := listed(t, rs)
			return func() int { return len(leaving(full, absent(rs)).changes) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			growth.LinearCount(t, func(n int) func() int { return prepare(policy.Desired(crowd(n)...)) })
		})
	}
}
