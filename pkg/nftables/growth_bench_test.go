// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// listedTable returns the table of a fake kernel with the elements of a rule set, as
// if its sets had been listed. The fake lists a set in one message, which has no
// room for that many.
func listedTable(tb testing.TB, rs policy.RuleSet) *table {
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
	forged := s.packets.chains[chainForged]
	forged.rules, forged.handles = nil, nil
	for _, e := range desiredElements(rs).packets {
		if e.isForged() {
			if e.present {
				forged.rules = append(forged.rules, forgedRule(e.key).exprs)
				forged.handles = append(forged.handles, 1)
			}
			continue
		}
		s.packets.sets[e.set].elements[e.key] = e.present
		s.packets.sets[e.set].listed = true
	}
	return s.packets
}

// encoded returns the requests of a transaction in bytes.
func encoded(p transaction) []byte {
	var b []byte
	for _, c := range p.changes {
		b = c.request.append(b, 0)
	}
	return b
}

// BenchmarkRender plans and encodes the transaction for an empty host.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("bridges=%d", n), func(b *testing.B) {
			rs := policy.Desired(attachmentsOn(n)...)
			b.ReportAllocs()
			for b.Loop() {
				_ = encoded(planApply(newTable(packets), rs.AdminChains, desiredElements(rs).packets))
			}
		})
	}
}

// TestGrowth expects the work to grow no faster than the number of bridges.
func TestGrowth(t *testing.T) {
	for name, prepare := range map[string]func(rs policy.RuleSet) func() int{
		"render": func(rs policy.RuleSet) func() int {
			return func() int {
				return len(encoded(planApply(newTable(packets), rs.AdminChains, desiredElements(rs).packets)))
			}
		},
		"compare": func(rs policy.RuleSet) func() int {
			full := listedTable(t, rs)
			return func() int { return 1 - len(planApply(full, rs.AdminChains, desiredElements(rs).packets).changes) }
		},
		"compare all but one": func(rs policy.RuleSet) func() int {
			return func() int { return len(isolatingElements(rs, []string{rs.Bridges[0].Name}).all()) }
		},
		"remove": func(rs policy.RuleSet) func() int {
			full := listedTable(t, rs)
			return func() int { return len(planRemoval(full, absentElements(rs).packets).changes) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			growth.LinearCount(t, func(n int) func() int { return prepare(policy.Desired(attachmentsOn(n)...)) })
		})
	}
}
