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

// groups are two VLANs of one bridge, a bridge in a VRF, and a plain bridge.
func groups(p, other policy.IngressPolicy) []policy.Attachment {
	return []policy.Attachment{
		routedBy(container("br0", p, policy.Deny, "10.5.0.2"), "br0.5"),
		routedBy(container("br0", other, policy.Deny, "10.6.0.2"), "br0.6"),
		routedBy(container("br7", policy.SameBridge, policy.Deny, "10.7.0.2"), "vrf7"),
		container("br8", policy.SameBridge, policy.Deny, "10.8.0.2"),
	}
}

// TestGroupVerdicts walks packets between all interfaces of networks that have several.
func TestGroupVerdicts(t *testing.T) {
	t.Parallel()
	for _, change := range changes() {
		t.Run(fmt.Sprint(change), func(t *testing.T) {
			t.Parallel()
			host := newFakeTable("")
			applyTo(t, host, policy.Desired(groups(change[0], change[1])...))
			checkGroups(t, host, policy.Desired(groups(change[0], change[1])...))
			applyTo(t, host, policy.Desired(groups(change[1], change[0])...))
			checkGroups(t, host, policy.Desired(groups(change[1], change[0])...))
		})
	}
}

// checkGroups wants a packet to pass between two interfaces if a network that has both
// is not isolated, and between networks if either is open.
func checkGroups(t *testing.T, host *fakeTable, rs policy.RuleSet) {
	t.Helper()
	for _, in := range interfacesOf(rs) {
		for _, out := range interfacesOf(rs) {
			want := ""
			if groupDrops(rs, in, out) {
				want = "DROP"
			}
			if got := verdict(host, chainForward, packet{in: in, out: out}); got != want {
				t.Errorf("%s to %s: got %q, want %q in\n%s", in, out, got, want, host.list())
			}
		}
	}
}

func interfacesOf(rs policy.RuleSet) []string {
	names := []string{"eth0"}
	for _, b := range rs.Bridges {
		names = append(names, b.Group()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func groupDrops(rs policy.RuleSet, in, out string) bool {
	isolated := map[string]bool{}
	within, separated, strict := in == out, false, false
	for _, b := range rs.Bridges {
		if !b.IngressPolicy.Isolates() {
			continue
		}
		has := map[string]bool{}
		for _, name := range b.Group() {
			isolated[name], has[name] = true, true
		}
		strict = strict || b.IngressPolicy.IsStrict() && has[out]
		if has[in] && has[out] {
			within = true
			separated = separated || b.IngressPolicy.Separates() && (in != b.Name || out != b.Name)
		}
	}
	if within {
		return separated
	}
	return strict || isolated[in] && isolated[out]
}

// TestRemoveKept removes one of two networks on a bridge, and then the other.
func TestRemoveKept(t *testing.T) {
	t.Parallel()
	for _, p := range policy.IngressPolicies[1:] {
		all := groups(p, p)
		host, want := newFakeTable(""), newFakeTable("")
		applyTo(t, want, policy.Desired(slices.Concat(all[:1], all[2:])...))
		applyTo(t, host, policy.Desired(all...))
		remove := policy.Desired(all[1])
		remove.Bridges[0].Kept = true
		removeFrom(t, host, remove)
		if diff := cmp.Diff(want.list(), host.list()); diff != "" {
			t.Errorf("%s: %s", p, diff)
		}
		removeFrom(t, host, policy.Desired(slices.Concat(all[:1], all[2:])...))
		if left := host.list(); strings.Contains(left, "STAGE") || strings.Contains(left, "PUBLISHED") {
			t.Errorf("%s: left\n%s", p, left)
		}
	}
}

// TestRemoveTogether removes both networks of a bridge at once.
func TestRemoveTogether(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	all := policy.Desired(groups(policy.SameBridge, policy.Isolated)...)
	applyTo(t, host, all)
	removeFrom(t, host, all)
	if left := host.list(); strings.Contains(left, "STAGE") || strings.Contains(left, "br") {
		t.Errorf("left\n%s", left)
	}
}

func removeFrom(t *testing.T, host *fakeTable, rs policy.RuleSet) {
	t.Helper()
	if err := host.restore(planRemove(parse(t, host.list()), rs.In(policy.IPv4)).script()); err != nil {
		t.Fatal(err)
	}
}

// TestRemoveSharedInterface removes one of two bridges in a VRF. The other stays
// isolated by it.
func TestRemoveSharedInterface(t *testing.T) {
	t.Parallel()
	one := routedBy(container("br1", policy.SameBridge, policy.Deny, "10.1.0.2"), "vrf1")
	two := routedBy(container("br2", policy.SameBridge, policy.Deny, "10.2.0.2"), "vrf1")
	lan := container("br3", policy.SameBridge, policy.Deny, "10.3.0.2")
	host := newFakeTable("")
	applyTo(t, host, policy.Desired(one, two, lan))
	removeFrom(t, host, policy.Desired(one))
	checkGroups(t, host, policy.Desired(two, lan))
	if p := planApply(parse(t, host.list()), policy.IPv4, policy.Desired(two, lan)); len(p) > 0 {
		t.Errorf("missing after the removal: %s", p.script())
	}
}

// TestRollbackGroup takes back an ADD of a second network on a bridge.
func TestRollbackGroup(t *testing.T) {
	t.Parallel()
	all := groups(policy.SameBridge, policy.Isolated)
	host := newFakeTable("")
	applyTo(t, host, policy.Desired(all[0]))
	before := host.list()
	applyTo(t, host, policy.Desired(all[:2]...))
	p := planRollback(parse(t, before), parse(t, host.list()), policy.Desired(all[1]).In(policy.IPv4), false)
	if err := host.restore(p.script()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, host.list()); diff != "" {
		t.Error(diff)
	}
}

// TestUpgradeGroup starts from rules of a version that knew bridges only.
func TestUpgradeGroup(t *testing.T) {
	t.Parallel()
	a := container("br0", policy.Isolated, policy.Allow, "10.5.0.2")
	host, want := newFakeTable(""), newFakeTable("")
	applyTo(t, host, policy.Desired(a))
	applyTo(t, host, policy.Desired(routedBy(a, "br0.5")))
	applyTo(t, want, policy.Desired(routedBy(a, "br0.5")))
	for _, chain := range []string{chainStage1, chainStage2, chainPublished} {
		got, wanted := slices.Sorted(slices.Values(host.rules[chain])), slices.Sorted(slices.Values(want.rules[chain]))
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s: %s", chain, diff)
		}
	}
}
