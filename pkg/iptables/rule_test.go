// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marked returns the words of a rule, those that start an option in brackets.
func marked(r string) []string {
	var list []string
	for word, starts := range words(r) {
		if starts {
			word = "[" + word + "]"
		}
		list = append(list, word)
	}
	return list
}

func TestWords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want []string
	}{
		{``, nil},
		{`-j ACCEPT`, []string{"[-j]", "ACCEPT"}},
		{`-m comment --comment "two words" -j X`, []string{"[-m]", "comment", "[--comment]", "two words", "[-j]", "X"}},
		{`--comment "a \"quote\", a \\ and it\'s"`, []string{"[--comment]", `a "quote", a \ and it's`}},
		{`--comment "" -j X`, []string{"[--comment]", "", "[-j]", "X"}},
		{`--comment -j -j X`, []string{"[--comment]", "-j", "[-j]", "X"}},
		{`--comment ! -j X`, []string{"[--comment]", "!", "[-j]", "X"}},
		{`--string "-j" "!" -o b`, []string{"[--string]", "-j", "!", "[-o]", "b"}},
		{"--comment \"two\nlines\"", []string{"[--comment]", "two\nlines"}},
		{`-i  a ! -o b `, []string{"[-i]", "a", "[!]", "-o", "b"}},
		{`--comment "no end`, []string{"[--comment]", "no end"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, marked(test.line)); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
	}
}

// TestKey compares rules that versions of iptables print differently, and rules that
// only look alike.
func TestKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		same bool
	}{
		{`-i a ! -o b -j X`, `! -o b -i a -j X`, true},
		{`-m comment --comment "c d" -j X`, `-j X -m comment --comment "c d"`, true},
		{`-m conntrack --ctdir REPLY --ctstate DNAT -j X`, `-m conntrack --ctstate DNAT --ctdir REPLY -j X`, true},
		{`-i a ! -o b -j X`, `! -i a -o b -j X`, false},
		{`-i a -o b -j X`, `-i b -o a -j X`, false},
		{`-i a -j X`, `-i a -g X`, false},
		{`-i a -j X`, `-i a -m comment --comment "-j X" -j X`, false},
		{`-i a -j DROP`, `-m comment --comment -i a -j DROP`, false},
		{`-m comment --comment c -j X`, `-m comment --comment "c" -j X`, true},
		{`-s 10.0.0.1/32 -j ACCEPT`, `-s 10.0.0.2/32 -j ACCEPT`, false},
		{`-s 10.0.0.1/32 -j ACCEPT`, `-d 10.0.0.1/32 -j ACCEPT`, false},
		{`-j X`, `-j X -j X`, false},
	}
	for _, test := range tests {
		if same := rule(test.a).key() == rule(test.b).key(); same != test.same {
			t.Errorf("%s and %s: got same %t", test.a, test.b, same)
		}
	}
}

func TestEndsOpen(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		`-j ACCEPT`:                              true,
		`-j RETURN`:                              true,
		`-g X`:                                   true,
		`-m comment --comment "all" -j ACCEPT`:   true,
		`-j DROP`:                                false,
		`-j X`:                                   false,
		`-i a -j ACCEPT`:                         false,
		`! -i a -j RETURN`:                       false,
		`-m comment --comment ACCEPT -j DROP`:    false,
		`-m limit --limit 1/sec -j ACCEPT`:       false,
		`-j REJECT --reject-with icmp-port-x`:    false,
		`-m comment --comment "-j ACCEPT" -j X`:  false,
		`-s 0.0.0.0/1 -m comment --comment "-j"`: false,
	} {
		if got := rule(line).letsAllOut(); got != want {
			t.Errorf("%s: got %t", line, got)
		}
	}
}

func TestParseTable(t *testing.T) {
	t.Parallel()
	got, err := parseTable("-P FORWARD DROP\n-N X\n# Warning: iptables-legacy tables present\n" +
		"-A FORWARD -m comment --comment \"one\n-A FORWARD -j ACCEPT\n\" -j DROP\n" +
		"-A X -m comment --comment \"CNI-ISOLATION\" -j DROP\n-A FORWARD -i a -j X")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, r := range got.rules[chainForward].list {
		targets = append(targets, r.target())
	}
	if want := []string{"DROP", "X"}; !slices.Equal(targets, want) {
		t.Errorf("a comment was read as a rule: got targets %q, want %q", targets, want)
	}
	if !got.chains["X"] || len(got.referenced) > 0 {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{
		"", "-N FORWARDS", "Segmentation fault", "-A", "-N ", "-Z FORWARD", "-A FORWARD --comment \"x", "\x00",
	} {
		if _, err := parseTable(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// FuzzWords wants a comment to be read back as it was, whatever it contains, and the
// options around it to stay options.
func FuzzWords(f *testing.F) {
	f.Add("plain")
	f.Add(`it's "quoted" \ with a backslash`)
	f.Add("two\nlines -j ACCEPT")
	f.Fuzz(func(t *testing.T, word string) {
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
		line := "-A FORWARD -m comment --comment " + quoted + " -j X"
		want := []string{"[-A]", "FORWARD", "[-m]", "comment", "[--comment]", word, "[-j]", "X"}
		if diff := cmp.Diff(want, marked(line)); diff != "" {
			t.Error(diff)
		}
		parsed, err := parseTable("-P FORWARD ACCEPT\n" + line + "\n-N Y\n")
		if err != nil || len(parsed.rules[chainForward].list) != 1 || !parsed.chains["Y"] {
			t.Errorf("%q: got %v, %v", line, parsed, err)
		}
	})
}

// FuzzParseTable wants no panic and no lost rule: every line is a rule, a chain, a
// comment or an error.
func FuzzParseTable(f *testing.F) {
	f.Add(newFakeTable("").list())
	f.Add("-N X\n-A FORWARD -m comment --comment \"a \\\" b\" -j X\n# c\n-A X")
	f.Add("-A FORWARD \"\n-A FORWARD \\\"\n")
	f.Fuzz(func(t *testing.T, output string) {
		got, err := parseTable(output)
		if err != nil {
			return
		}
		want := 0
		for line, whole := range statements(output) {
			if !whole {
				t.Errorf("%q has no end and was accepted", line)
			}
			if strings.HasPrefix(line, "-A FORWARD ") {
				want++
			}
		}
		if n := len(got.rules[chainForward].list); n < want {
			t.Errorf("got %d rules of %d", n, want)
		}
	})
}
