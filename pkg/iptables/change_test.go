// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestPolicyChange expects what no longer belongs to go with the next ADD.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	for _, from := range policy.IngressPolicies {
		for _, to := range policy.IngressPolicies {
			for _, ports := range policy.PublishedPortsValues {
				host, want := newFakeTable(""), newFakeTable("")
				applyTo(t, host, policy.Desired(container("br1", from, policy.Allow, "10.1.0.2")))
				rs := policy.Desired(container("br1", to, ports, "10.1.0.2"))
				applyTo(t, host, rs)
				applyTo(t, want, rs)
				if len(host.rules[chainPublished]) == 0 { // the empty chain may stay, with what leads there and from there
					host.rules[chainForward] = slices.DeleteFunc(host.rules[chainForward], func(r string) bool { return r == string(jumpPublished) })
					host.rules[chainAccept] = nil
				}
				for _, chain := range writtenChains {
					got, wanted := slices.Sorted(slices.Values(host.rules[chain])), slices.Sorted(slices.Values(want.rules[chain]))
					if !from.Isolates() || to.Isolates() {
						if diff := cmp.Diff(wanted, got); diff != "" {
							t.Errorf("%s to %s, %s: %s", from, to, chain, diff)
						}
					} else if strings.HasPrefix(chain, "CNI-I") && strings.Contains(strings.Join(got, "\n"), "br1") {
						t.Errorf("%s to %s: %s has %q", from, to, chain, got)
					}
				}
			}
		}
	}
}
