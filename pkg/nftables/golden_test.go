// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares what an empty host holds after an ADD of everything, and
// after its removal.
func TestGolden(t *testing.T) {
	t.Parallel()
	const file = "testdata/table.txtar"
	got := new(txtar.Archive)
	k := newKernel()
	note := func(name string) {
		got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(k.host.String())})
	}
	note("empty")
	apply(t, k, sample())
	note("applied")
	k.otherProgram(func(h *host) { h.table().chain("CNI-ADMIN").rules = [][]byte{counterRule, acceptRule} })
	remove(t, k, sample())
	note("removed while the operator has rules")
	k.otherProgram(func(h *host) { h.table().chain("CNI-ADMIN").rules = nil })
	apply(t, k, sample())
	remove(t, k, sample())
	note("removed")
	compareGolden(t, file, got)
}

// TestFramesGolden compares the table for frames.
func TestFramesGolden(t *testing.T) {
	t.Parallel()
	k := holding(t, policy.Desired(isolatedOn("veth1", "10.1.0.2", "fd01::2"), isolatedOn("veth2", "10.1.0.3")))
	frames := host{[]*hostTable{k.host.find(unix.NFPROTO_BRIDGE, tableName)}}
	got := &txtar.Archive{Files: []txtar.File{{Name: "applied", Data: []byte(frames.String())}}}
	compareGolden(t, "testdata/frames.txtar", got)
}

// compareGolden compares an archive with a file, or with the flag -update writes it.
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

// TestPolicies compares the elements of a bridge for each ingressPolicy and
// publishedPorts.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const in, out = true, false
	tests := []struct {
		policy                                  policy.IngressPolicy
		ports                                   policy.PublishedPorts
		isolated, sameBridge, within, published bool
	}{
		{policy.Open, policy.Allow, out, out, out, out},
		{policy.Open, policy.Deny, out, out, out, out},
		{policy.SameBridge, policy.Allow, in, in, out, in},
		{policy.SameBridge, policy.Deny, in, in, out, out},
		{policy.Isolated, policy.Allow, in, in, in, in},
		{policy.Isolated, policy.Deny, in, in, in, out},
	}
	for _, test := range tests {
		for _, from := range tests { // the previous configuration
			k := holding(t, policy.Desired(container("br1", from.policy, from.ports, "10.1.0.2")))
			apply(t, k, policy.Desired(container("br1", test.policy, test.ports, "10.1.0.2")))
			for set, want := range map[string]bool{
				setIsolated: test.isolated, setSameBridge: test.sameBridge,
				setBlockedWithin: test.within, setPublished: test.published,
			} {
				if got := len(k.elements(set)) == 1; got != want {
					t.Errorf("%s %s, after %s %s: in set %s: got %t, want %t",
						test.policy, test.ports, from.policy, from.ports, set, got, want)
				}
			}
		}
	}
}
