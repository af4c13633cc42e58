// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// top is the directory in which the README is, seen from here.
const top = "../../.."

// pages returns the README, the changelog and the pages of docs, each as its lines.
func pages(t *testing.T) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("docs has only %q: %v", paths, err)
	}
	all := map[string][]string{}
	for _, path := range append(paths, filepath.Join(top, "README.md"), filepath.Join(top, "CHANGELOG.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	return all
}

// prose returns the lines of a page that are in no block of code, by number; the
// other lines are empty.
func prose(lines []string) []string {
	text, code := make([]string, len(lines)), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if !code && !fence {
			text[i] = line
		}
		code = code != fence
	}
	return text
}

// TestReadmeShort keeps the README what a stranger reads in a minute.
func TestReadmeShort(t *testing.T) {
	t.Parallel()
	if n := len(pages(t)[filepath.Join(top, "README.md")]); n > 100 {
		t.Errorf("README.md has %d lines, and may have 100", n)
	}
}

// TestWrapped wants lines of 100 columns at most. A row of a table, what a program
// prints, and a line without a space to break it at may be longer.
func TestWrapped(t *testing.T) {
	t.Parallel()
	for path, lines := range pages(t) {
		for i, line := range prose(lines) {
			words := strings.Fields(line)
			if utf8.RuneCountInString(line) > 100 && !strings.HasPrefix(line, "|") && len(words) > 1 {
				t.Errorf("%s:%d: %d columns", path, i+1, utf8.RuneCountInString(line))
			}
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// TestHosts wants the table of hosts to have those that the Makefile lists for its targets:
// DISTROS for "make distros", and so on.
func TestHosts(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for target, hosts := range hostsByTarget(pages(t)[filepath.Join(top, "docs", "HOSTS.md")]) {
		name := strings.ToUpper(strings.TrimPrefix(target, "make "))
		list := regexp.MustCompile(`(?m)^` + name + ` \?= (.*)$`).FindSubmatch(makefile)
		if list == nil {
			continue // it has no list, and one host
		}
		found++
		if want := strings.Fields(string(list[1])); !slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(hosts))) {
			t.Errorf("%s: the table has %q, the Makefile %q", target, hosts, want)
		}
	}
	if found < 2 {
		t.Errorf("the Makefile has only %d lists", found)
	}
}

// hostsByTarget returns what stands in backquotes in the first column, by what does in the
// last one.
func hostsByTarget(page []string) map[string][]string {
	hosts := map[string][]string{}
	for _, line := range page {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		target := quoted.FindStringSubmatch(cells[len(cells)-1])
		if !strings.HasPrefix(line, "|") || target == nil {
			continue
		}
		for _, host := range quoted.FindAllStringSubmatch(cells[0], -1) {
			hosts[target[1]] = append(hosts[target[1]], host[1])
		}
	}
	return hosts
}

var (
	linkTarget  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks wants each link to lead to a file, and to a heading of that file.
func TestLinks(t *testing.T) {
	t.Parallel()
	all, found := pages(t), 0
	for path, lines := range all {
		for i, line := range prose(lines) {
			for _, match := range linkTarget.FindAllStringSubmatch(line, -1) {
				if strings.HasPrefix(match[1], "https://") {
					continue
				}
				found++
				if !leadsSomewhere(all, path, match[1]) {
					t.Errorf("%s:%d: %s leads nowhere", path, i+1, match[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d links were found", found)
	}
}

func leadsSomewhere(all map[string][]string, from, link string) bool {
	file, anchor, hasAnchor := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = filepath.Join(filepath.Dir(from), file)
	}
	if _, err := os.Stat(target); err != nil {
		return false
	}
	return !hasAnchor || anchors(all[target])[anchor]
}

// anchors returns the headings of a page as GitHub names them in links.
func anchors(lines []string) map[string]bool {
	names := map[string]bool{}
	for _, line := range prose(lines) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			names[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return names
}
