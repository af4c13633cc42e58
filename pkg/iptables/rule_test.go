// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want rule
	}{
		{``, nil},
		{`-j ACCEPT`, rule{"-j", "ACCEPT"}},
		{`-m comment --comment "two words" -j X`, rule{"-m", "comment", "--comment", "two words", "-j", "X"}},
		{`--comment "a \"quote\", a \\ and it\'s"`, rule{"--comment", `a "quote", a \ and it's`}},
		{`--comment ""`, rule{"--comment", ""}},
		{"--comment \"two\nlines\"", rule{"--comment", "two\nlines"}},
		{`-i  a   -o b`, rule{"-i", "a", "-o", "b"}},
	}
	for _, test := range tests {
		got, err := split(test.line)
		if err != nil {
			t.Errorf("%s: %v", test.line, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
	}
	if _, err := split(`--comment "no end`); err == nil {
		t.Error("quotes without an end were accepted")
	}
}

// TestKey compares rules that versions of iptables print in different ways, and
// rules that only look alike.
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
	}
	for _, test := range tests {
		a, err := split(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := split(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if same := a.key() == b.key(); same != test.same {
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
		r, err := split(line)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.listed().endsOpen(); got != want {
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
	for _, l := range got.rules[chainForward].list {
		targets = append(targets, l.target)
	}
	if want := []string{"DROP", "X"}; !slices.Equal(targets, want) {
		t.Errorf("a comment was read as a rule: got targets %q, want %q", targets, want)
	}
	if !got.chains["X"] || got.referred {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"Segmentation fault", "-A", "-N ", "-Z FORWARD", "-A FORWARD --comment \"x", "\x00"} {
		if _, err := parseTable(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// FuzzSplit expects that what is quoted is read back as it was.
func FuzzSplit(f *testing.F) {
	f.Add("plain")
	f.Add(`it's "quoted" \ with a backslash`)
	f.Add("two\nlines -j ACCEPT")
	f.Fuzz(func(t *testing.T, word string) {
		got, err := split("-a " + quote(word) + " -b")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rule{"-a", word, "-b"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzParseTable expects no panic, and nothing lost: every line is a rule, a
// chain, a comment or an error.
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
		for line := range statements(output) {
			if strings.HasPrefix(line, "-A FORWARD ") {
				want++
			}
		}
		if n := len(got.rules[chainForward].list); n < want {
			t.Errorf("got %d rules of %d", n, want)
		}
	})
}
