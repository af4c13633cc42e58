// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestFindPrograms wants both programs of a family to be of one variant.
func TestFindPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		first, second map[string]string // variant by program, in two directories of PATH
		restore       string            // path below the directory, or empty
		says          string            // of the error
	}{
		"side by side": {
			map[string]string{"iptables": "nft", "iptables-restore": "nft"},
			map[string]string{"iptables-restore": "legacy"}, "first/iptables-restore", "",
		},
		"apart, the same variant": {
			map[string]string{"iptables-restore": "legacy"},
			map[string]string{"iptables": "legacy"}, "first/iptables-restore", "",
		},
		"beside the list program first": {
			map[string]string{"iptables-restore": "legacy"},
			map[string]string{"iptables": "nft", "iptables-restore": "nft"}, "second/iptables-restore", "",
		},
		"apart, two variants": {
			map[string]string{"iptables": "nft"},
			map[string]string{"iptables-restore": "legacy"}, "", "they work on different tables",
		},
		"no restore program": {map[string]string{"iptables": "nft"}, nil, "", "iptables-restore, which IPv4 addresses need"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			link(t, dir, "first", test.first)
			link(t, dir, "second", test.second)
			t.Setenv("PATH", filepath.Join(dir, "first")+":"+filepath.Join(dir, "second"))
			got, err := findPrograms(policy.IPv4)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got error %v, want %q", err, test.says)
				}
				return
			}
			if err != nil || got.restore != filepath.Join(dir, test.restore) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// link makes a directory of links to programs of a variant.
func link(t *testing.T, dir, name string, variants map[string]string) {
	t.Helper()
	bin := filepath.Join(dir, name)
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for program, variant := range variants {
		multi := filepath.Join(dir, "xtables-"+variant+"-multi")
		if err := os.WriteFile(multi, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(multi, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExplain adds the line that iptables-restore names by number.
func TestExplain(t *testing.T) {
	t.Parallel()
	script := "*filter\n-N A\nCOMMIT\n"
	for reason, want := range map[string]string{
		"iptables-restore: line 2 failed":          ` (line 2 is "-N A")`,
		"iptables-restore v1.8.9: line 2: no luck": ` (line 2 is "-N A")`,
		"iptables-restore: line 9 failed":          "",
		"no memory":                                "",
	} {
		if got := explain(reason, script); got != want {
			t.Errorf("%s: got %q, want %q", reason, got, want)
		}
	}
}
