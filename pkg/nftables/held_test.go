// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestHeld wants everything that the tables have: removed, it leaves nothing.
func TestHeld(t *testing.T) {
	t.Parallel()
	guarded := container("br2", policy.Isolated, policy.Deny, "10.2.0.2", "fd02::2")
	guarded.Port = "veth2"
	for name, rs := range map[string]policy.RuleSet{
		"nothing":     {},
		"a bridge":    policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2", "fd01::2")),
		"an open one": policy.Desired(container("br1", policy.Open, policy.Allow, "10.1.0.2")),
		"a port":      policy.Desired(guarded),
		"two VLANs, and others": policy.Desired(
			vlan("br.5", policy.Isolated, policy.Allow, "10.5.0.2"), vlan("br.6", policy.SameBridge, policy.Deny, "10.6.0.2"),
			container("br1", policy.SameBridge, policy.Deny, "10.1.0.2"), guarded,
		),
	} {
		k := holding(t, rs)
		held, err := readSnapshot(t, k).Held()
		if err != nil {
			t.Fatal(err)
		}
		if len(held.Bridges) == 1 {
			want := rs.Bridges[0]
			want.Network, want.Forwarded, want.Families = "", false, policy.BothFamilies
			if diff := cmp.Diff(want, held.Bridges[0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		remove(t, k, held)
		if got := k.host.String(); got != "" {
			t.Errorf("%s: left\n%s", name, got)
		}
	}
}
