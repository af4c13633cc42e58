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

// standaloneRules returns what the standalone plugin writes for the bridge br1.
func standaloneRules(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/standalone.rules")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// snapshot reads the tables of both families.
func snapshot(t *testing.T) *Snapshot {
	t.Helper()
	return snapshotIn(t, policy.BothFamilies.List()...)
}

// snapshotIn reads the tables of some families.
func snapshotIn(t *testing.T, families ...policy.Family) *Snapshot {
	t.Helper()
	var all policy.Families
	for _, f := range families {
		all = all.With(f)
	}
	s, err := Read(all)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHeld wants the bridges and addresses of all plugins, each with what the rules say.
func TestHeld(t *testing.T) {
	f := newFakeDual(t)
	f.write("iptables", standaloneRules(t))
	apply(t, policy.Desired(
		container("br2", policy.SameBridge, policy.Allow, "10.2.0.2", "fd02::2"),
		container("br3", policy.Isolated, policy.Deny, "fd03::2"),
		container("br4", policy.Open, policy.Allow, "10.4.0.2"),
	))
	for _, line := range []string{
		`-A CNI-ISOLATION-STAGE-1 -i lan0 -j CNI-ISOLATION-STAGE-2`,
		`-A CNI-ISOLATION-STAGE-1 -i br+ ! -o br+ -m comment --comment "CNI isolation plugin rules" -j CNI-ISOLATION-STAGE-2`,
	} {
		f.write("iptables", f.listing("iptables")+line+"\n")
	}
	s := snapshot(t)
	held, err := s.Held()
	if err != nil {
		t.Fatal(err)
	}
	got := held.Bridges
	slices.SortFunc(got, func(a, b policy.Bridge) int { return strings.Compare(a.Name, b.Name) })
	want := []policy.Bridge{
		{Name: "br1", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Deny, Families: policy.Families(policy.IPv4)},
		{Name: "br2", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow, Families: policy.BothFamilies},
		{Name: "br3", IngressPolicy: policy.Isolated, PublishedPorts: policy.Deny, Families: policy.Families(policy.IPv6)},
		{Name: "br4", IngressPolicy: policy.Open, PublishedPorts: policy.Allow, Families: policy.Families(policy.IPv4)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var addresses []string
	for _, p := range held.Addresses {
		addresses = append(addresses, p.Addr().String())
	}
	if diff := cmp.Diff([]string{"10.2.0.2", "10.4.0.2", "fd02::2", "fd03::2"}, addresses); diff != "" {
		t.Error(diff)
	}
	if s.DropsSameBridge("br2") || !s.DropsSameBridge("br3") {
		t.Error("only br3 separates its containers")
	}
}

// TestRemoveForeign has this plugin take over from the standalone one. The isolation
// holds before and after.
func TestRemoveForeign(t *testing.T) {
	f := newFakeDual(t)
	f.write("iptables", standaloneRules(t)+"-A CNI-ISOLATION-STAGE-1 -i lan0 -j RETURN\n")
	own := policy.Desired(
		container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"),
		container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
		container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
	)
	apply(t, own)
	checkVerdicts(t, newFakeTable(f.listing("iptables")), "br1", "br2", "br3")
	if err := snapshot(t).RemoveForeign(); err != nil {
		t.Fatal(err)
	}
	got := f.listing("iptables")
	if strings.Contains(got, commentStandalone) || !strings.Contains(got, "-i lan0 -j RETURN") {
		t.Errorf("got\n%s", got)
	}
	checkVerdicts(t, newFakeTable(got), "br1", "br2", "br3")
	if err := snapshot(t).Check(own); err != nil {
		t.Error(err)
	}
}

// TestRemoveForeignLast removes the standalone plugin's rules where nothing else is.
func TestRemoveForeignLast(t *testing.T) {
	f := newFakeDual(t)
	f.write("iptables", standaloneRules(t))
	if err := snapshot(t).RemoveForeign(); err != nil {
		t.Fatal(err)
	}
	if got := f.listing("iptables"); strings.Contains(got, "CNI-ISOLATION") {
		t.Errorf("the stages are left in\n%s", got)
	}
}

// TestCheckForeign accepts what upstream's plugin leaves of another policy, and
// nothing that is missing.
func TestCheckForeign(t *testing.T) {
	f := newFakeDual(t)
	apply(t, policy.Desired(container("br1", policy.Isolated, policy.Deny, "10.1.0.2")))
	now := policy.Desired(container("br1", policy.SameBridge, policy.Deny, "10.1.0.2"))
	f.write("iptables", f.listing("iptables")+"-I CNI-ISOLATION-STAGE-1 "+
		string(toStage2(commentPolicy(policy.SameBridge))("br1"))+"\n")
	if err := snapshot(t).CheckForeign(now); err != nil {
		t.Error(err)
	}
	const says = `IPv4: rule contradicts the configuration: -A CNI-ISOLATION-STAGE-1 -i br1 -o br1 `
	if err := snapshot(t).Check(now); err == nil || !strings.HasPrefix(err.Error(), says) {
		t.Errorf("got error %v, want %q", err, says)
	}
	f.write("iptables", strings.Replace(f.listing("iptables"), "-A FORWARD "+string(jumpStage1)+"\n", "", 1))
	if err := snapshot(t).CheckForeign(now); err == nil || !strings.Contains(err.Error(), "rule is missing: -A FORWARD") {
		t.Errorf("without the jump to the stages: got error %v", err)
	}
}
