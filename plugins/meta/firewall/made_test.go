// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "make the completions and the manual anew")

// madeBy is what files say of themselves that are made of the commands.
const madeBy = "Made of the program's commands by: go test ./plugins/meta/firewall -update"

// TestMade compares the completions and the manual with what the commands make of them.
func TestMade(t *testing.T) {
	t.Parallel()
	compareMade(t, "completions/cni-firewall.bash", bashCompletion(commands()))
	compareMade(t, "completions/_cni-firewall", zshCompletion(commands()))
	compareMade(t, "completions/cni-firewall.fish", fishCompletion(commands()))
	page, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	made := withSection(t, string(page), "synopsis", synopsis(commands()))
	compareMade(t, manual, withSection(t, made, "commands", manualCommands(commands())))
}

func compareMade(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the commands make, -update makes it (-want +got):\n%s", path, diff)
	}
}

// severalWords are commands that later ones may be like: of two words, with operands, and
// with all that a text may have.
func severalWords() []command {
	return append(commands(),
		command{
			name: "draft check", does: "read: the host's [own] word, that's all", details: "Read it. It's all.",
			flags: []option{output("text"), {name: "strict", does: "refuse: what [isn't] known"}}, example: "x",
		},
		command{name: "draft show", does: "show it", details: "Show it.", example: "x"},
		command{name: "join", operands: "FROM TO[:PORT]", does: "join them", details: "Join them.", example: "x"},
	)
}

// madeOf writes the completions of commands where shells of tests find them.
func madeOf(t *testing.T, all []command) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"cni-firewall.bash": bashCompletion(all), "_cni-firewall": zshCompletion(all), "cni-firewall.fish": fishCompletion(all),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// choices returns which words may come next behind those that begin the name of a
// command, and what each does where it ends the name.
func choices(all []command, before string) (words []string, does map[string]string) {
	does = map[string]string{}
	for _, c := range all {
		rest, isBehind := strings.CutPrefix(" "+c.name+" ", strings.TrimRight(" "+before, " ")+" ")
		if !isBehind || rest == "" {
			continue
		}
		word, more, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if _, seen := does[word]; seen {
			continue
		}
		words = append(words, word)
		does[word] = c.does
		if more != "" {
			does[word] = word + " " + more + " and others"
		}
	}
	return words, does
}

// stems returns what commands of two words begin with.
func stems(all []command) []string {
	var list []string
	for _, c := range all {
		first, _, isLong := strings.Cut(c.name, " ")
		if isLong && (len(list) == 0 || list[len(list)-1] != first) {
			list = append(list, first)
		}
	}
	return list
}

// takesCommands reports whether the operands of a command are names of commands.
func (c command) takesCommands() bool { return strings.HasPrefix(c.operands, "[COMMAND") }

// single quotes a text for a shell.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
