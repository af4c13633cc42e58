// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRollbackKeepsIsolation wants a rollback to remove the accepts and to keep the
// isolation.
func TestRollbackKeepsIsolation(t *testing.T) {
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

// TestRollbackHealing takes an ADD back on hosts that are damaged at random. What it
// repaired stays; nothing that it accepted does, and its bridge is isolated only
// where isolation is to stay.
func TestRollbackHealing(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	added := container("br5", policy.Isolated, policy.Allow, "10.5.0.2")
	for n := range 200 {
		keep := n%2 == 0
		host := newFakeTable("")
		applyTo(t, host, sample())
		for _, line := range foreignLines {
			if err := host.command(line); err != nil {
				t.Fatal(err)
			}
		}
		damage(rng, host)
		before := parse(t, host.list())
		foreign := foreignRules(host)
		applyTo(t, host, sample(added))
		p := planRollback(before, parse(t, host.list()), policy.Desired(added).In(policy.IPv4), keep)
		if err := host.restore(p.script()); err != nil {
			t.Fatal(err)
		}
		checkVerdicts(t, host, "br1", "br2", "br3")
		checkRolledBack(t, host, foreign, keep)
	}
}

// checkRolledBack wants a host to hold nothing of br5 but the isolation that is to be
// kept.
func checkRolledBack(t *testing.T, host *fakeTable, foreign map[string][]string, kept bool) {
	t.Helper()
	var left []string
	for line := range strings.Lines(host.list()) {
		if strings.Contains(line, "br5") || strings.Contains(line, "10.5.0.2") {
			left = append(left, strings.TrimSuffix(line, "\n"))
		}
	}
	var want []string
	if kept {
		want = []string{
			"-A CNI-ISOLATION-STAGE-1 " + string(dropSameBridge("br5")),
			"-A CNI-ISOLATION-STAGE-1 " + string(toStage2(commentPolicy(policy.Isolated))("br5")),
			"-A CNI-ISOLATION-STAGE-2 " + string(dropToBridge("br5")),
		}
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Fatalf("kept %t (-want +got):\n%s", kept, diff)
	}
	got := foreignRules(host)
	for chain, rules := range got {
		own := func(r string) bool { return strings.Contains(r, "br5") }
		if got[chain] = slices.DeleteFunc(rules, own); len(got[chain]) == 0 {
			delete(got, chain)
		}
	}
	if diff := cmp.Diff(foreign, got); diff != "" {
		t.Fatalf("rules of others were changed: %s", diff)
	}
}

// TestRollbackBehindAdmin puts lost accepts of an address back, behind the operator's
// chain.
func TestRollbackBehindAdmin(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	applyTo(t, host, sample())
	before := parse(t, host.list())
	host.rules[chainCNIForward] = host.rules[chainCNIForward][:1]
	own := policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2")).In(policy.IPv4)
	if err := host.restore(planRollback(before, parse(t, host.list()), own, false).script()); err != nil {
		t.Fatal(err)
	}
	checkAdminFirst(t, host.list())
	want := []string{string(jumpAdmin("CNI-ADMIN"))}
	for _, r := range addressRules(own.Addresses[0]) {
		want = append(want, string(r))
	}
	if diff := cmp.Diff(want, host.rules[chainCNIForward]); diff != "" {
		t.Error(diff)
	}
}

// TestRollbackPolicy has an ADD fail that was to change a bridge's policy. The policy
// before is back. The isolation of another bridge, which that ADD repaired, stays.
func TestRollbackPolicy(t *testing.T) {
	bystander := container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2")
	for _, change := range changes() {
		for _, ports := range [][2]policy.PublishedPorts{{policy.Allow, policy.Deny}, {policy.Deny, policy.Allow}} {
			for _, others := range [][]policy.Attachment{nil, {bystander}} {
				before := container("cni0", change[0], ports[0], "10.4.0.2", "fd00::2")
				after := container("cni0", change[1], ports[1], "10.4.0.2", "fd00::2")
				t.Run(fmt.Sprintf("%s to %s beside %d", change, ports, len(others)), func(t *testing.T) {
					testRollbackPolicy(t, others, before, after)
				})
			}
		}
	}
}

func testRollbackPolicy(t *testing.T, others []policy.Attachment, before, after policy.Attachment) {
	t.Helper()
	f := newFakeDual(t)
	apply(t, policy.Desired(append(slices.Clone(others), before)...))
	golden := f.listing("iptables")
	damaged := slices.DeleteFunc(slices.Collect(strings.Lines(golden)), func(line string) bool {
		return strings.HasPrefix(line, "-A CNI-ISOLATION-STAGE-1 -i br9 -o br9")
	})
	f.write("iptables", strings.Join(damaged, ""))
	f.fault("ip6tables-restore", "fail")
	s, err := Read(policy.BothFamilies)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(policy.Desired(append(slices.Clone(others), after)...), nil); err == nil {
		t.Fatal("the fault did not show")
	}
	f.repair("ip6tables-restore")
	if err := s.Rollback(policy.Desired(after), before.IngressPolicy.Isolates()); err != nil {
		t.Fatal(err)
	}
	checkAdminFirst(t, f.listing("iptables"))
	if diff := cmp.Diff(byBridge(golden), byBridge(f.listing("iptables"))); diff != "" {
		t.Error(diff)
	}
}

// checkAdminFirst wants the operator's chain ahead of everything accepted.
func checkAdminFirst(t *testing.T, listing string) {
	t.Helper()
	for _, chain := range []string{chainCNIForward, chainAccept} {
		isLoopback := func(r rule) bool { return r == returnLoopback } // accepts nothing
		rules := slices.DeleteFunc(parse(t, listing).rules[chain].list, isLoopback)
		if len(rules) > 0 && !isAdminJump(rules[0]) {
			t.Errorf("%s accepts ahead of the operator's chain: %q", chain, rules)
		}
	}
}

// byBridge returns the lines of a listing, those of br9 behind all others. Bridges
// have no order among each other.
func byBridge(listing string) []string {
	var own, others []string
	for line := range strings.Lines(listing) {
		if strings.Contains(line, "br9") {
			others = append(others, line)
		} else {
			own = append(own, line)
		}
	}
	return append(own, others...)
}
