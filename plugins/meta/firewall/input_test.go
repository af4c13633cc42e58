// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestInput reads command lines. A flag is given by its name and value.
func TestInput(t *testing.T) {
	t.Parallel()
	all := severalWords()
	for line, want := range map[string]string{
		"status":                          "status",
		"status -o json":                  "status output=json",
		"status -o=json --graph dot":      "status graph=dot output=json",
		"status --output json -graph=dot": "status graph=dot output=json",
		"status -o json -o table":         "status output=table",
		"restore --adopt":                 "restore adopt=",
		"retire -force --data-dir /x":     "retire data-dir=/x force=",
		"retire --data-dir=":              "retire data-dir=",
		"retire --data-dir --force":       "retire data-dir=--force",
		"draft check --strict":            "draft check strict=",
		"explain one two":                 "explain one two",
		"explain -- -one --help":          "explain -one --help",
		"explain - two":                   "explain - two",
		"help draft check":                "help draft check",
		"help":                            "help",
		"stat":                            `unknown command "stat": did you mean "status"?`,
		"rstore":                          `unknown command "rstore": did you mean "restore"?`,
		"wathc":                           `unknown command "wathc": did you mean "watch"?`,
		"restrie":                         `unknown command "restrie": did you mean "restore"?`,
		"confg":                           `unknown command "confg"`,
		"draft":                           `unknown command "draft": did you mean "draft check"?`,
		"draft chekc":                     `unknown command "draft chekc": did you mean "draft check"?`,
		"draft nonsense":                  `unknown command "draft nonsense"`,
		"nonsense":                        `unknown command "nonsense"`,
		"x":                               `unknown command "x"`,
		"":                                `unknown command ""`,
		"status --nonsense":               `status: unknown flag "--nonsense"`,
		"status -x":                       `status: unknown flag "-x"`,
		"status ---graph dot":             `status: unknown flag "---graph": did you mean "--graph"?`,
		"status --=x":                     `status: unknown flag "--"`,
		"status --grpah dot":              `status: unknown flag "--grpah": did you mean "--graph"?`,
		"watch --data=x":                  `watch: unknown flag "--data": did you mean "--data-dir"?`,
		"restore --adpot":                 `restore: unknown flag "--adpot"`,
		"status -o":                       `status: -o needs a value: table or json`,
		"watch --data-dir":                `watch: --data-dir needs a value: DIRECTORY`,
		"retire --force=no":               `retire: --force takes no value`,
		"explain":                         `explain: FROM is missing`,
		"explain one":                     `explain: TO[:PORT] is missing`,
		"explain one two three":           `explain: unexpected argument "three"`,
		"status one":                      `status: unexpected argument "one"`,
	} {
		if got := readLine(all, line); got != want {
			t.Errorf("%q: got %s, wanted %s", line, got, want)
		}
	}
}

// readLine returns what was read of a command line, or the problem with it.
func readLine(all []command, line string) string {
	var got string
	for i := range all {
		name := all[i].name
		all[i].run = func(_ plugin, in input) error {
			var flags []string
			for _, o := range all[i].flags {
				if in.has(o.name) {
					flags = append(flags, o.name+"="+in.value(o.name))
				}
			}
			slices.Sort(flags)
			got = strings.Join(slices.Concat([]string{name}, in.operands, flags), " ")
			return nil
		}
	}
	var usage *usageError
	if err := (plugin{}).command(all, strings.Split(line, " ")); errors.As(err, &usage) {
		first, _, _ := strings.Cut(usage.Error(), "\n")
		return strings.TrimPrefix(strings.TrimPrefix(first, "cni-firewall: "), "cni-firewall ")
	} else if err != nil {
		return err.Error()
	}
	return got
}

// TestPresets wants a flag that is not given to have its preset.
func TestPresets(t *testing.T) {
	t.Parallel()
	c, _, _ := find(commands(), []string{"status"})
	in, err := c.parse(nil)
	if err != nil || in.value("output") != "table" || in.value("graph") != "" || in.dataDir() != "/run/cni/firewall" || in.has("output") {
		t.Errorf("got %v, %v", in, err)
	}
}

// TestHelpAsked wants the help of a command, and not its run, wherever it is asked for.
func TestHelpAsked(t *testing.T) {
	t.Parallel()
	all := severalWords()
	for _, c := range all {
		for _, flag := range []string{"-h", "--help", "-help"} {
			var stdout bytes.Buffer
			p := plugin{stdout: &stdout}
			if err := p.command(all, append(strings.Fields(c.name), flag)); err != nil || stdout.String() != c.help() {
				t.Errorf("%s %s: %v: %s", c.name, flag, err, stdout.String())
			}
		}
	}
}
