// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// inBothOrders returns the sample for a host with the table beside, and for one without.
func inBothOrders() (beside, alone policy.RuleSet) {
	beside, alone = sample(), sample()
	alone.Alone = true
	return beside, alone
}

// TestAlone wants nothing to pass between isolated bridges where no table guards the
// exemption, and published ports to be open to all others.
func TestAlone(t *testing.T) {
	t.Parallel()
	_, alone := inBothOrders()
	host := newFakeTable("")
	applyTo(t, host, alone)
	for _, p := range packets([]string{"br1", "br2", "br3"}) {
		want := "DROP"
		if p.in == p.out && p.in != "br2" {
			continue // their own bridge
		}
		if got := verdict(host, chainForward, p); got != want {
			t.Errorf("%+v: got %q, want %q in\n%s", p, got, want, host.list())
		}
	}
	for _, bridge := range []string{"br1", "br2"} {
		p := packet{in: "lan0", out: bridge, redirected: "ORIGINAL"}
		if got := verdict(host, chainForward, p); got != "ACCEPT" {
			t.Errorf("%+v: got %q in\n%s", p, got, host.list())
		}
	}
}

// TestOrderChanges wants one ADD to reach either order from the other, and CHECK to see
// the wrong one.
func TestOrderChanges(t *testing.T) {
	newFake(t, "iptables", "iptables-restore")
	beside, alone := inBothOrders()
	for _, rs := range []policy.RuleSet{beside, alone, beside, alone} {
		other := rs
		other.Alone = !rs.Alone
		apply(t, rs)
		s := snapshotIn(t, policy.IPv4)
		if err := s.Check(rs); err != nil {
			t.Errorf("alone %t: %v", rs.Alone, err)
		}
		if err := s.Check(other); err == nil || !strings.Contains(err.Error(), "rule is out of place: -A FORWARD") {
			t.Errorf("alone %t: got error %v for the other order", rs.Alone, err)
		}
	}
}

// TestOrderChangeKeepsRules wants the same rules after a change of the order and back.
func TestOrderChangeKeepsRules(t *testing.T) {
	t.Parallel()
	beside, alone := inBothOrders()
	host, want := newFakeTable(""), newFakeTable("")
	applyTo(t, want, alone)
	applyTo(t, host, beside)
	applyTo(t, host, alone)
	if diff := cmp.Diff(want.rules, host.rules); diff != "" {
		t.Error(diff)
	}
}

// TestRemoveAlone wants nothing left but CNI-FORWARD and the operator's chain.
func TestRemoveAlone(t *testing.T) {
	t.Parallel()
	_, alone := inBothOrders()
	host := newFakeTable("")
	applyTo(t, host, alone)
	removeFrom(t, host, alone)
	want := newFakeTable(`
-N CNI-ADMIN
-N CNI-FORWARD
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`)
	if diff := cmp.Diff(want.rules, host.rules); diff != "" {
		t.Error(diff)
	}
}
