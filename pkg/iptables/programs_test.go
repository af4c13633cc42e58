// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestOutcome wants an error to say how a program ended.
func TestOutcome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script, says string
		locked       bool
	}{
		"success": {"echo done", "", false},
		"failure": {"echo one >&2; echo two >&2; exit 2", "running iptables: exit status 2: one; two", false},
		"lock":    {"echo busy >&2; exit 4", "running iptables: exit status 4: busy", true},
		"signal":  {"kill -SEGV $$", "running iptables: signal: segmentation fault", false},
		"hang":    {"exec sleep 60", "running iptables: it hung and was killed after 40s", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if name == "hang" {
				limit = 100 * time.Millisecond
			}
			p, err := start("", "/bin/sh", "-c", test.script)
			if err != nil {
				t.Fatal(err)
			}
			o, err := p.wait(limit)
			if err != nil {
				t.Fatal(err)
			}
			err = o.failure("iptables")
			if test.says == "" && err != nil || test.says != "" && (err == nil || err.Error() != test.says) {
				t.Errorf("got error %v, want %q", err, test.says)
			}
			if errors.Is(err, ErrLocked) != test.locked {
				t.Errorf("got %v, ErrLocked %t", err, !test.locked)
			}
		})
	}
}

// TestNoStart wants the reason why a program does not start.
func TestNoStart(t *testing.T) {
	t.Parallel()
	_, err := run("", "/nowhere/iptables", "-S")
	var failed *Error
	if !errors.As(err, &failed) || failed.Program != "/nowhere/iptables" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
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
