// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// commandLine returns the operator's commands, each with its flags, as the program
// itself explains them.
func commandLine(t *testing.T) map[string][]string {
	t.Helper()
	commands := map[string][]string{"help": nil}
	for _, found := range regexp.MustCompile(`(?m)^  cni-firewall (\w+)`).FindAllStringSubmatch(usage, -1) {
		var explained bytes.Buffer
		p := plugin{stdout: io.Discard, stderr: &explained}
		if code := p.operate([]string{found[1], "-h"}); code != 2 {
			t.Fatalf("firewall %s -h ends with exit code %d", found[1], code)
		}
		for _, f := range regexp.MustCompile(`(?m)^  -([\w-]+)`).FindAllStringSubmatch(explained.String(), -1) {
			commands[found[1]] = append(commands[found[1]], f[1])
		}
	}
	if len(commands) < 4 || len(commands["status"]) < 3 {
		t.Fatalf("the program explains only %q", commands)
	}
	return commands
}

// documents say of each command and flag what the pattern does, in which %s is its
// name.
var documents = []struct{ path, command, short, long string }{
	{"man/cni-firewall.8", `(?m)^\.It Cm %s$`, `(?m)^\.It Fl %s `, `(?m)^\.It Fl -%s( |$)`},
	{"completions/cni-firewall.bash", `[ ']%s[ ']`, `[ ']-%s[ ']`, `[ ']--%s[ ']`},
	{"completions/_cni-firewall", `'%s:`, `'-%s\[`, `'--%s\[`},
	{"completions/cni-firewall.fish", ` -a %s `, ` -s %s `, ` -l %s `},
}

// TestDocumented wants every command and flag in the manual and in the completions.
func TestDocumented(t *testing.T) {
	t.Parallel()
	for _, d := range documents {
		text, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		has := func(pattern, name string) {
			if !regexp.MustCompile(strings.ReplaceAll(pattern, "%s", name)).Match(text) {
				t.Errorf("%s does not know %s", d.path, name)
			}
		}
		for command, flags := range commandLine(t) {
			has(d.command, command)
			for _, f := range flags {
				if len(f) == 1 {
					has(d.short, f)
				} else {
					has(d.long, f)
				}
			}
		}
	}
}
