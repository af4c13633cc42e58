// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestPolicyChange wants the next ADD to delete what contradicts the new policy.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	for _, change := range changes() {
		for _, ports := range policy.PublishedPortsValues {
			testPolicyChange(t, change[0], change[1], ports)
		}
	}
}

func testPolicyChange(t *testing.T, from, to policy.IngressPolicy, ports policy.PublishedPorts) {
	t.Helper()
	host, want := newFakeTable(""), newFakeTable("")
	applyTo(t, host, policy.Desired(container("br1", from, policy.Allow, "10.1.0.2")))
	rs := policy.Desired(container("br1", to, ports, "10.1.0.2"))
	applyTo(t, host, rs)
	applyTo(t, want, rs)
	withoutEmptyPublished(host)
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

// withoutEmptyPublished removes what leads to an empty chain CNI-PUBLISHED and from
// it. An ADD leaves these chains, since it deletes none.
func withoutEmptyPublished(host *fakeTable) {
	if len(host.rules[chainPublished]) > 0 {
		return
	}
	isJump := func(r string) bool { return r == string(jumpPublished) }
	host.rules[chainForward] = slices.DeleteFunc(host.rules[chainForward], isJump)
	host.rules[chainAccept] = nil
}

// changes returns every pair of policies.
func changes() [][2]policy.IngressPolicy {
	var all [][2]policy.IngressPolicy
	for _, from := range policy.IngressPolicies {
		for _, to := range policy.IngressPolicies {
			all = append(all, [2]policy.IngressPolicy{from, to})
		}
	}
	return all
}
