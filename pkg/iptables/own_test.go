// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRemoveOwn wants upstream's rules to be left of ours, to the letter, from either
// order of the jumps.
func TestRemoveOwn(t *testing.T) {
	text, err := os.ReadFile("testdata/upstream.rules")
	if err != nil {
		t.Fatal(err)
	}
	want := newFakeTable(string(text))
	for _, alone := range []bool{false, true} {
		f := newFakeDual(t)
		rs := policy.Desired(container("br1", policy.Isolated, policy.Allow, "10.1.0.2", "fd01::2"))
		rs.Alone = alone
		apply(t, rs)
		if err := snapshot(t).RemoveOwn(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.rules, newFakeTable(f.listing("iptables")).rules); diff != "" {
			t.Errorf("alone %t: %s", alone, diff)
		}
		if got := f.listing("ip6tables"); strings.Contains(got, "PUBLISHED") || !strings.Contains(got, "-o br1 -m comment") {
			t.Errorf("alone %t: IPv6 has\n%s", alone, got)
		}
		f.calls()
		if err := snapshot(t).RemoveOwn(); err != nil {
			t.Fatal(err)
		}
		if calls := f.calls(); !slices.Equal(calls, []string{"ip6tables", "iptables"}) {
			t.Errorf("nothing was left to remove: got calls %q", calls)
		}
	}
}

// TestRemoveOwnGroup hands a VLAN over: the interfaces that upstream's plugin does not
// know go, also those that the same call wrote, and every bridge stays isolated.
func TestRemoveOwnGroup(t *testing.T) {
	f := newFakeDual(t)
	rs := policy.Desired(groups(policy.SameBridge, policy.Isolated)...)
	s := snapshot(t)
	if err := s.Apply(rs, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveOwn(); err != nil {
		t.Fatal(err)
	}
	host := newFakeTable(f.listing("iptables"))
	for _, name := range []string{"br0.5", "br0.6", "vrf7", "network of", "PUBLISHED"} {
		if strings.Contains(host.list(), name) {
			t.Errorf("%s is left in\n%s", name, host.list())
		}
	}
	var bridges []policy.Attachment
	for _, name := range []string{"br0", "br7", "br8"} {
		bridges = append(bridges, container(name, policy.SameBridge, policy.Deny, "10.1.0.2"))
	}
	checkGroups(t, host, policy.Desired(bridges...))
}

// TestRemoveOwnUsed leaves the chains that another program uses.
func TestRemoveOwnUsed(t *testing.T) {
	f := newFakeDual(t)
	apply(t, sample())
	const foreign = "-A CNI-PUBLISHED -i lan0 -j RETURN"
	f.write("iptables", f.listing("iptables")+foreign+"\n")
	if err := snapshot(t).RemoveOwn(); err != nil {
		t.Fatal(err)
	}
	got := f.listing("iptables")
	if !strings.Contains(got, foreign) || strings.Contains(got, "-A CNI-PUBLISHED -o br1") {
		t.Errorf("got\n%s", got)
	}
	checkIsolatedBehind(t, newFakeTable(got))
}

// checkIsolatedBehind wants no packet to pass between the isolated bridges of the sample.
func checkIsolatedBehind(t *testing.T, host *fakeTable) {
	t.Helper()
	for _, p := range packets([]string{"br1", "br2", "br3"}) {
		if p.in == p.out {
			continue
		}
		if got := verdict(host, chainForward, p); got != "DROP" {
			t.Errorf("%+v: got %q in\n%s", p, got, host.list())
		}
	}
}
