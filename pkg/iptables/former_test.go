// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRemoveFormer wants nothing to be left of the plugin in a variant that it no longer
// writes to, unless others have something there.
func TestRemoveFormer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		others []string
		keeps  []string // chains of the plugin
	}{
		"nothing of others":             {nil, nil},
		"rules elsewhere":               {foreignLines[:3], nil},
		"an accept of upstream's":       {foreignLines[3:4], []string{"CNI-ADMIN", chainCNIForward}},
		"a bridge of upstream's":        {[]string{"-A CNI-ISOLATION-STAGE-2 " + string(dropToBridge("br9"))}, []string{chainStage1, chainStage2}},
		"a rule of the operator's":      {foreignLines[5:], []string{"CNI-ADMIN", chainCNIForward}},
		"another way to the operator's": {[]string{"-A FORWARD -i x -j CNI-ADMIN"}, []string{"CNI-ADMIN", chainCNIForward}},
		"another way to CNI-FORWARD":    {[]string{"-A INPUT -i x -j CNI-FORWARD"}, []string{"CNI-ADMIN", chainCNIForward}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, want := newFakeTable(""), newFakeTable("")
			applyTo(t, host, sample())
			for _, line := range test.others {
				if err := host.command(line); err != nil {
					t.Fatal(err)
				}
			}
			if err := host.restore(planRemoveFormer(parse(t, host.list()), sample()).script()); err != nil {
				t.Fatalf("%v in\n%s", err, host.list())
			}
			for _, chain := range append(policy.PluginChains, "CNI-ADMIN") {
				_, kept := host.rules[chain]
				if want := strings.Contains(strings.Join(test.keeps, " "), chain); kept != want {
					t.Errorf("chain %s is there: %t, want %t", chain, kept, want)
				}
			}
			for _, line := range test.others {
				if !strings.Contains(host.list(), line+"\n") {
					t.Errorf("gone: %s", line)
				}
			}
			if diff := cmp.Diff(want.list(), host.list()); test.others == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOfVariant wants the programs of the other variant from the directory of the current
// ones, wherever the links that PATH leads to are.
func TestOfVariant(t *testing.T) {
	dir := t.TempDir()
	link(t, dir, "bin", map[string]string{"iptables": "nft", "iptables-restore": "nft"})
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	p, err := findPrograms(policy.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.otherVariant(); got != "legacy" {
		t.Errorf("the other variant is %q", got)
	}
	if _, err := p.ofVariant(policy.IPv4, "legacy"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got error %v", err)
	}
	for _, name := range []string{"iptables-legacy", "iptables-legacy-restore"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := p.ofVariant(policy.IPv4, "legacy")
	want := programs{filepath.Join(dir, "iptables-legacy"), filepath.Join(dir, "iptables-legacy-restore")}
	if err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}
