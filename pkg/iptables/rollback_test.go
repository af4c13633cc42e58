// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRollbackKeeps takes back what was forwarded and keeps what was closed.
func TestRollbackKeeps(t *testing.T) {
	f := newFakeDual(t)
	f.fault("ip6tables-restore", "fail")
	s, err := Read(dual.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(dual, nil); err == nil {
		t.Fatal("the fault did not show")
	}
	if err := s.Rollback(dual, true); err != nil {
		t.Fatal(err)
	}
	got := f.listing("iptables")
	if strings.Contains(got, "10.4.0.2") || strings.Contains(got, "-j ACCEPT") {
		t.Errorf("still forwarded:\n%s", got)
	}
	if !strings.Contains(got, "-o cni0 -m comment") {
		t.Errorf("no longer isolated:\n%s", got)
	}
}

// TestRollbackPolicy has an ADD fail that was to change a bridge's policy: the former
// one is back, and the isolation of another bridge, which that ADD healed, stays.
func TestRollbackPolicy(t *testing.T) {
	ports := map[policy.PublishedPorts]policy.PublishedPorts{policy.Deny: policy.Allow, policy.Allow: policy.Deny}
	for _, change := range changes() {
		from, to := change[0], change[1]
		for former, latter := range ports {
			for _, others := range [][]policy.Attachment{nil, {container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2")}} {
				t.Run(fmt.Sprintf("%s/%s to %s/%s beside %d", from, former, to, latter, len(others)), func(t *testing.T) {
					f := newFakeDual(t)
					apply(t, policy.Desired(append(others, container("cni0", from, former, "10.4.0.2", "fd00::2"))...))
					golden := f.listing("iptables")
					damaged := slices.DeleteFunc(slices.Collect(strings.Lines(golden)), func(line string) bool {
						return strings.HasPrefix(line, "-A CNI-ISOLATION-STAGE-1 -i br9 -o br9")
					})
					f.write("iptables", strings.Join(damaged, ""))
					f.fault("ip6tables-restore", "fail")
					own := policy.Desired(container("cni0", to, latter, "10.4.0.2", "fd00::2"))
					s, err := Read(policy.BothFamilies)
					if err != nil {
						t.Fatal(err)
					}
					if err := s.Apply(policy.Desired(append(others, container("cni0", to, latter, "10.4.0.2", "fd00::2"))...), nil); err == nil {
						t.Fatal("the fault did not show")
					}
					f.repair("ip6tables-restore")
					if err := s.Rollback(own, from.Isolates()); err != nil {
						t.Fatal(err)
					}
					for _, chain := range []string{chainCNIForward, chainAccept} {
						if got := parse(t, f.listing("iptables")).rules[chain].list; len(got) > 0 && !isAdminJump(got[0]) {
							t.Errorf("something is accepted ahead of the operator's chain in %s: %q", chain, got)
						}
					}
					want, got := strings.Split(golden, "\n"), strings.Split(f.listing("iptables"), "\n")
					for _, lines := range [][]string{want, got} { // bridges have no order among each other
						slices.SortStableFunc(lines, func(a, b string) int {
							return strings.Compare(fmt.Sprint(strings.Contains(a, "br9")), fmt.Sprint(strings.Contains(b, "br9")))
						})
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}

// changes are from each policy to each.
func changes() [][2]policy.IngressPolicy {
	var all [][2]policy.IngressPolicy
	for _, from := range policy.IngressPolicies {
		for _, to := range policy.IngressPolicies {
			all = append(all, [2]policy.IngressPolicy{from, to})
		}
	}
	return all
}
