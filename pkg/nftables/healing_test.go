// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestDamage expects a check to name each damage, an ADD to heal it, and what the
// sets hold of other containers to stay.
func TestDamage(t *testing.T) {
	t.Parallel()
	stranger := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2"))
	for _, d := range damages() {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			k := holding(t, sample())
			apply(t, k, stranger)
			k.other(func(h *host) {
				h.table().chain("CNI-ADMIN").rules = [][]byte{countsAll}
				d.do(h.table())
			})
			differs(t, k, sample(), d.want)
			apply(t, k, sample())
			if err := check(t, k, sample()); err != nil {
				t.Errorf("not healed: %v in\n%s", err, k.host.String())
			}
			if err := check(t, k, stranger); !d.sets && err != nil {
				t.Errorf("of others: %v", err)
			}
			if strings.Contains(k.host.String(), "a_former") {
				t.Errorf("what is of old is left in\n%s", k.host.String())
			}
		})
	}
}

// TestAsleep has a table that is dormant and lacks a chain: it is woken first, for
// the kernel takes no chain on a hook with that, and then healed.
func TestAsleep(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	whole := k.host.String()
	k.other(func(h *host) {
		damages()[0].do(h.table())
		h.table().drop(chainForward)
		clear(h.table().set(setIsolated).elements)
	})
	k.commits = nil
	apply(t, k, sample())
	if len(k.commits) != 2 || len(k.commits[0]) != 1 {
		t.Errorf("got %d transactions, the first of %d changes", len(k.commits), len(k.commits[0]))
	}
	k.holds(t, whole)
}
