// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRollbackKeepsPolicy has an ADD fail that was to change the policy of a bridge
// which was isolated as it should be: that isolation is to be kept means neither
// that ports are published which were not, nor that the bridge is stricter.
func TestRollbackKeepsPolicy(t *testing.T) {
	t.Parallel()
	eachPolicyChange(func(from, to policy.Attachment) {
		if !from.IngressPolicy.Isolates() {
			return
		}
		k := holding(t, policy.Desired(from))
		before := k.host.String()
		s := start(t, k)
		if err := s.Apply(policy.Desired(to), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(policy.Desired(to), true); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, k.host.String()); diff != "" {
			t.Errorf("from %s %s to %s %s: %s", from.IngressPolicy, from.PublishedPorts, to.IngressPolicy, to.PublishedPorts, diff)
		}
	})
}
