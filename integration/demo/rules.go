// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"strings"
)

// staying are the rules of each family that no DEL removes, like upstream: an
// operator's rules may hang on them.
var staying = []string{
	"-N CNI-ADMIN",
	"-N CNI-FORWARD",
	`-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`,
	`-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`,
}

// ofPlugin returns the part of a listing that is the plugin's chains and the
// jumps to them. Other CNI plugins write to the table nat only.
func ofPlugin(listing string) string {
	var part strings.Builder
	for line := range strings.Lines(listing) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, " CNI-") {
			part.WriteString(line)
		}
	}
	return part.String()
}

// difference returns in which rules a listing after the last DEL differs from
// one before the first ADD, apart from those that stay.
func difference(before, after string, staying []string) []string {
	want, got := perFamily(before), perFamily(after)
	var lines []string
	for _, program := range slices.Sorted(maps.Keys(want)) {
		expected := slices.Concat(want[program], staying)
		for _, rule := range without(expected, got[program]) {
			lines = append(lines, program+": lost: "+rule)
		}
		for _, rule := range without(got[program], expected) {
			lines = append(lines, program+": left behind: "+rule)
		}
	}
	return lines
}

// perFamily splits a listing at the lines that name its program.
func perFamily(listing string) map[string][]string {
	rules := map[string][]string{}
	var program string
	for line := range strings.Lines(listing) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# "); ok {
			program = name
			continue
		}
		rules[program] = append(rules[program], line)
	}
	return rules
}

// without returns the rules that are not among others, where each of those
// counts once.
func without(rules, others []string) []string {
	others = slices.Clone(others)
	var rest []string
	for _, rule := range rules {
		if i := slices.Index(others, rule); i >= 0 {
			others = slices.Delete(others, i, i+1)
			continue
		}
		rest = append(rest, rule)
	}
	return rest
}
