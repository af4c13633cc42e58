// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// fakeTable is a filter table that answers iptables -S and iptables-restore --noflush
// as the kernel does.
type fakeTable struct {
	order []string
	rules map[string][]string
}

func newFakeTable(listing string) *fakeTable {
	f := &fakeTable{rules: map[string][]string{}}
	for _, builtin := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		f.order = append(f.order, builtin)
		f.rules[builtin] = nil
	}
	for line := range strings.Lines(listing) {
		if words := strings.Fields(line); len(words) > 1 && words[0] != "-P" {
			if err := f.command(strings.TrimSpace(line)); err != nil {
				panic(err)
			}
		}
	}
	return f
}

// list prints the table as iptables -S does.
func (f *fakeTable) list() string {
	var b strings.Builder
	for i, chain := range f.order {
		if i < 3 {
			fmt.Fprintf(&b, "-P %s ACCEPT\n", chain)
		} else {
			fmt.Fprintf(&b, "-N %s\n", chain)
		}
	}
	for _, chain := range f.order {
		for _, r := range f.rules[chain] {
			fmt.Fprintf(&b, "-A %s %s\n", chain, r)
		}
	}
	return b.String()
}

// restore runs a script as one transaction.
func (f *fakeTable) restore(script string) error {
	work := newFakeTable(f.list())
	for n, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if line == "*filter" || line == "COMMIT" {
			continue
		}
		if err := work.command(line); err != nil {
			return fmt.Errorf("iptables-restore: line %d failed: %w", n+1, err)
		}
	}
	*f = *work
	return nil
}

func (f *fakeTable) command(line string) error {
	op, rest, _ := strings.Cut(line, " ")
	chain, rule, _ := strings.Cut(rest, " ")
	rules, exists := f.rules[chain]
	switch {
	case op == "-N" && exists:
		return fmt.Errorf("chain already exists: %s", chain)
	case op == "-N":
		f.order = append(f.order, chain)
		f.rules[chain] = []string{}
		return nil
	case !exists:
		return fmt.Errorf("no chain of that name: %s", chain)
	}
	switch op {
	case "-A":
		f.rules[chain] = append(rules, rule)
	case "-I":
		number := 1
		if n, _ := fmt.Sscanf(rule, "%d ", &number); n == 1 {
			_, rule, _ = strings.Cut(rule, " ")
		}
		if number > len(rules)+1 {
			return fmt.Errorf("index of insertion too big: %d", number)
		}
		f.rules[chain] = slices.Insert(rules, number-1, rule)
	case "-D":
		at := slices.Index(rules, rule)
		if at < 0 {
			return fmt.Errorf("bad rule (does a matching rule exist in that chain?): %s", rule)
		}
		f.rules[chain] = slices.Delete(rules, at, at+1)
	case "-X":
		if len(rules) > 0 || strings.Contains(f.list(), "-j "+chain+"\n") {
			return fmt.Errorf("chain is not empty or referred to: %s", chain)
		}
		delete(f.rules, chain)
		f.order = slices.DeleteFunc(f.order, func(c string) bool { return c == chain })
	default:
		return fmt.Errorf("unknown command %q", line)
	}
	return nil
}

// toggle makes a chain, or deletes it.
func (f *fakeTable) toggle(chain string) error {
	if _, exists := f.rules[chain]; exists {
		return f.command("-X " + chain)
	}
	return f.command("-N " + chain)
}
