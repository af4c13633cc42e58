// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRollbackKeeps takes back what is accepted, and keeps closed what was open by
// mistake.
func TestRollbackKeeps(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		was := container("cni0", policy.Isolated, policy.Deny, "10.4.0.2")
		k := holding(t, policy.Desired(was))
		k.other(func(h *host) {
			for _, set := range []string{setIsolated, setBlockedWithin, setSameBridge} {
				clear(h.table().set(set).elements)
			}
		})
		newcomer := policy.Desired(container("cni0", policy.Isolated, policy.Deny, "10.4.0.3", "fd00::3"))
		s := start(t, k)
		if err := s.Apply(newcomer, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(newcomer, keep); err != nil {
			t.Fatal(err)
		}
		if got := k.elements(setIPv4); !slices.Equal(got, []string{"10.4.0.2"}) || len(k.elements(setIPv6)) > 0 {
			t.Errorf("keep %t: accepted are %q and %q", keep, got, k.elements(setIPv6))
		}
		for _, set := range []string{setIsolated, setBlockedWithin, setSameBridge} {
			if got := len(k.elements(set)) == 1; got != keep {
				t.Errorf("keep %t: in set %s %t", keep, set, got)
			}
		}
	}
}

// TestRollbackKeepsWhatWas has an ADD fail that was to open a bridge: what it took
// out is back.
func TestRollbackKeepsWhatWas(t *testing.T) {
	t.Parallel()
	eachPolicyChange(func(_, to policy.Attachment) {
		k := holding(t, policy.Desired(container("cni0", policy.Isolated, policy.Allow, "10.4.0.2")))
		before := k.host.String()
		s := start(t, k)
		if err := s.Apply(policy.Desired(to), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(policy.Desired(to), true); err != nil {
			t.Fatal(err)
		}
		k.holds(t, before)
	})
}
