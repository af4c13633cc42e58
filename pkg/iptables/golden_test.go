// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cni-isolation/firewall/pkg/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden compares what an empty host holds after one ADD, for each policy, each
// value of publishedPorts and each family.
func TestGolden(t *testing.T) {
	t.Parallel()
	got := new(txtar.Archive)
	for _, p := range policy.IngressPolicies {
		for _, ports := range policy.PublishedPortsValues {
			rs := policy.Desired(container("cni0", p, ports, "10.4.0.2", "fd00::2"))
			for _, family := range policy.BothFamilies.List() {
				name := strings.Join([]string{string(p), string(ports), family.String()}, "/")
				got.Files = append(got.Files, holding(t, name, family, rs))
			}
		}
	}
	compareGolden(t, "testdata/rules.txtar", got)
}

// TestGoldenGroups compares what networks of several interfaces have.
func TestGoldenGroups(t *testing.T) {
	t.Parallel()
	got := new(txtar.Archive)
	for _, p := range policy.IngressPolicies {
		rs := policy.Desired(routedBy(container("cni0", p, policy.Allow, "10.4.0.2"), "cni0.5"))
		got.Files = append(got.Files, holding(t, string(p), policy.IPv4, rs))
	}
	got.Files = append(got.Files, holding(t, "two VLANs of one bridge", policy.IPv4, policy.Desired(
		routedBy(container("cni0", policy.SameBridge, policy.Allow, "10.4.0.2"), "cni0.5"),
		routedBy(container("cni0", policy.Isolated, policy.Deny, "10.5.0.2"), "cni0.6"),
	)))
	compareGolden(t, "testdata/groups.txtar", got)
}

// TestGoldenAlone compares what a kernel without nf_tables has.
func TestGoldenAlone(t *testing.T) {
	t.Parallel()
	got := new(txtar.Archive)
	for _, p := range policy.IngressPolicies {
		rs := policy.Desired(container("cni0", p, policy.Allow, "10.4.0.2"))
		rs.Alone = true
		got.Files = append(got.Files, holding(t, string(p), policy.IPv4, rs))
	}
	compareGolden(t, "testdata/alone.txtar", got)
}

// holding returns what an empty host holds with a rule set.
func holding(t *testing.T, name string, family policy.Family, rs policy.RuleSet) txtar.File {
	t.Helper()
	host := newFakeTable("")
	applyIn(t, family, host, rs)
	return txtar.File{Name: name, Data: []byte(host.list())}
}

func compareGolden(t *testing.T, file string, got *txtar.Archive) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(txtar.Format(got))); diff != "" {
		t.Error(diff)
	}
}
