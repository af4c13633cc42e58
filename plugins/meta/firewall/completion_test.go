// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shells are programs that print what a shell offers for what was typed.
var shells = map[string][]string{
	"bash": {"bash", "-c", `source $2/cni-firewall.bash
COMP_WORDS=(cni-firewall $1) COMP_CWORD=${#COMP_WORDS[@]}
if [[ -z $1 || $1 == *' ' ]]; then COMP_WORDS+=(''); else COMP_CWORD=$((COMP_CWORD - 1)); fi
_cni_firewall
printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
	"fish": {"fish", "--no-config", "-c", `source $argv[2]/cni-firewall.fish
complete -C "cni-firewall $argv[1]"`},
}

// offered returns what a shell offers, sorted; without what fish says about it, and
// the slash with which it ends a directory.
func offered(t *testing.T, dir, shell, typed string) []string {
	t.Helper()
	words := []string{}
	for line := range strings.Lines(run(t, append(slices.Clone(shells[shell]), typed, dir)...)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if word != "" {
			words = append(words, strings.TrimSuffix(word, "/"))
		}
	}
	slices.Sort(words)
	return words
}

func run(t *testing.T, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("running %q: %v: %s", command, err, output)
	}
	return string(output)
}

// TestOffered wants a shell to offer the commands and flags that there are, and no
// others.
func TestOffered(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][]command{"completions": commands(), "later": severalWords()} {
		dir := name
		if name == "later" {
			dir = madeOf(t, all)
		}
		for shell := range shells {
			for _, c := range all {
				want := []string{}
				for _, o := range c.shown() {
					want = append(want, o.spellings()...)
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, offered(t, dir, shell, c.name+" -")); diff != "" {
					t.Errorf("flags of %s in %s (-want +got):\n%s", c.name, shell, diff)
				}
			}
			for _, before := range append([]string{""}, stems(all)...) {
				want, _ := choices(all, before)
				slices.Sort(want)
				if diff := cmp.Diff(want, offered(t, dir, shell, strings.TrimLeft(before+" ", " "))); diff != "" {
					t.Errorf("commands behind %q in %s (-want +got):\n%s", before, shell, diff)
				}
			}
		}
	}
}

// TestCompletion has shells complete what was typed.
func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := madeOf(t, severalWords())
	for typed, want := range map[string]string{
		"res":                     "restore",
		"ret":                     "retire",
		"help wa":                 "watch",
		"dra":                     "draft",
		"draft ch":                "check",
		"draft check -o ":         "json text",
		"draft check -o json --s": "--strict",
		"status -o ":              "json table",
		"status -o t":             "table",
		"status --output j":       "json",
		"status --graph ":         "dot mermaid",
		"status --graph dot --d":  "--data-dir",
		"watch --data-dir /pro":   "/proc",
		"restore --a":             "",
		"nonsense -":              "",
	} {
		for shell := range shells {
			if got := strings.Join(offered(t, dir, shell, typed), " "); got != want {
				t.Errorf("%s completes %q to %q, wanted %q", shell, typed, got, want)
			}
		}
	}
}

// TestZsh has zsh, which offers nothing to programs, complete its command line.
func TestZsh(t *testing.T) {
	t.Parallel()
	lines := [][2]string{
		{"cni-firewall res", "cni-firewall restore "},
		{"cni-firewall ret", "cni-firewall retire "},
		{"cni-firewall wa", "cni-firewall watch "},
		{"cni-firewall st", "cni-firewall status "},
		{"cni-firewall he", "cni-firewall help "},
		{"cni-firewall status -o j", "cni-firewall status -o json "},
		{"cni-firewall status --g", "cni-firewall status --graph "},
		{"cni-firewall status --graph d", "cni-firewall status --graph dot "},
		{"cni-firewall status --out", "cni-firewall status --output "},
		{"cni-firewall restore -o t", "cni-firewall restore -o text "},
		{"cni-firewall restore --a", "cni-firewall restore --a"},
		{"cni-firewall retire --f", "cni-firewall retire --force "},
		{"cni-firewall help wa", "cni-firewall help watch "},
		{"cni-firewall dra", "cni-firewall draft "},
		{"cni-firewall draft ch", "cni-firewall draft check "},
		{"cni-firewall draft check --s", "cni-firewall draft check --strict "},
		{"cni-firewall draft show --o", "cni-firewall draft show --o"},
		{"cni-firewall watch --d", "cni-firewall watch --data-dir "},
		{"cni-firewall watch --data-dir /pro", "cni-firewall watch --data-dir /proc/"},
		{"cni-firewall nonsense --d", "cni-firewall nonsense --d"},
	}
	command := []string{"zsh", "-f", "testdata/complete.zsh", madeOf(t, severalWords())}
	want := ""
	for _, l := range lines {
		command = append(command, l[0])
		want += l[1] + "\n"
	}
	if diff := cmp.Diff(want, run(t, command...)); diff != "" {
		t.Errorf("completed lines (-want +got):\n%s", diff)
	}
}
