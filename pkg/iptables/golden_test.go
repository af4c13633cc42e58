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
	const file = "testdata/rules.txtar"
	got := new(txtar.Archive)
	for _, p := range policy.IngressPolicies {
		for _, ports := range policy.PublishedPortsValues {
			for _, family := range policy.BothFamilies.List() {
				host := newFakeTable("")
				rs := policy.Desired(container("cni0", p, ports, "10.4.0.2", "fd00::2"))
				applyTo(t, host, rs.In(family))
				name := strings.Join([]string{string(p), string(ports), family.String()}, "/")
				got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(host.list())})
			}
		}
	}
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
