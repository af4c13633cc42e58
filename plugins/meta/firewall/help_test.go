// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHelpFits wants each help to fit a screen of 24 lines, one of which is the prompt's,
// and 80 columns.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"": helpOfAll(commands())}
	for _, c := range commands() {
		texts[c.name] = c.help()
	}
	for name, text := range texts {
		if n := strings.Count(text, "\n"); n > 23 {
			t.Errorf("help %s has %d lines", name, n)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("help %s has %d columns: %s", name, n, line)
			}
		}
		if _, example, _ := strings.Cut(text, "\nExample:\n"); !strings.HasPrefix(example, "  cni-firewall "+name) {
			t.Errorf("help %s has the example %q", name, example)
		}
	}
}

// TestHelpWhole wants each help to have all that users are told of.
func TestHelpWhole(t *testing.T) {
	t.Parallel()
	list := helpOfAll(severalWords())
	for _, c := range severalWords() {
		if !strings.Contains(list, "\n  "+c.name+" ") {
			t.Errorf("the list of commands lacks %q", c.name)
		}
		text := c.help()
		for _, o := range c.flags {
			if strings.Contains(text, "--"+o.name) == o.obsolete {
				t.Errorf("help %s, and --%s: %s", c.name, o.name, text)
			}
		}
		if !strings.HasPrefix(text, strings.TrimSpace("Usage: cni-firewall "+c.name+" "+c.operands)+" [FLAG...]\n") {
			t.Errorf("help %s begins %q", c.name, text)
		}
	}
}
