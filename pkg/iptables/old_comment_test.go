// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestOldComment starts from the rules that upstream's plugin 1.1 to 1.6 writes, which
// knows no policy isolated.
func TestOldComment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/upstream.rules")
	if err != nil {
		t.Fatal(err)
	}
	today, old, both := commented(t, string(text))
	for name, listing := range map[string]string{"the old comment": old, "both comments": both} {
		host := newFakeTable(listing)
		if !strings.Contains(host.list(), `same-bridge)" -j CNI-ISOLATION-STAGE-1`) {
			t.Fatalf("%s: the sample has none", name)
		}
		rules := policy.Desired(container("br1", policy.SameBridge, policy.Deny, "10.1.0.2"))
		p := planApply(parse(t, host.list()), policy.IPv4, rules)
		if differs := slices.ContainsFunc(p, func(c change) bool { return c.reason != "" }); differs {
			t.Errorf("%s is a difference: %s", name, p.script())
		}
		carryOut(t, host, p)
		wantSameRules(t, name+", after an ADD", host.list(), today)
		if again := planApply(parse(t, host.list()), policy.IPv4, rules); len(again) > 0 {
			t.Errorf("%s: the second ADD changes\n%s", name, again.script())
		}

		host = newFakeTable(listing)
		opened := policy.Desired(container("br1", policy.Open, policy.Deny, "10.1.0.2"))
		carryOut(t, host, planApply(parse(t, host.list()), policy.IPv4, opened))
		if strings.Contains(host.list(), "-o br1") || strings.Contains(host.list(), "-i br1") {
			t.Errorf("%s: an open bridge keeps rules of its isolation:\n%s", name, host.list())
		}

		host = newFakeTable(listing)
		carryOut(t, host, planRemove(parse(t, host.list()), rules))
		if strings.Contains(host.list(), "br1") || strings.Contains(host.list(), "10.1.0.2") {
			t.Errorf("%s: the removal leaves\n%s", name, host.list())
		}
	}
}

// TestOldCommentAhead has upstream's old plugin put its jump ahead of that to published ports.
func TestOldCommentAhead(t *testing.T) {
	t.Parallel()
	rules := policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"))
	host := newFakeTable("-P FORWARD ACCEPT\n")
	carryOut(t, host, planApply(parse(t, host.list()), policy.IPv4, rules))
	ours := host.list()
	if err := host.command("-I FORWARD " + string(jumpStage1.withOldComment())); err != nil {
		t.Fatal(err)
	}
	p := planApply(parse(t, host.list()), policy.IPv4, rules)
	if !slices.ContainsFunc(p, func(c change) bool { return c.rule == jumpPublished && c.reason == outOfPlace }) {
		t.Errorf("nothing is out of place:\n%s", host.list())
	}
	carryOut(t, host, p)
	wantSameRules(t, "put right", host.list(), ours)
}

// commented returns the rules of a listing under today's comment, under the old one, and
// under both: after a downgrade, or where another ADD doubled them.
func commented(t *testing.T, text string) (today, old, both string) {
	t.Helper()
	today = strings.ReplaceAll(text, commentPolicy(policy.Isolated), commentPolicy(policy.SameBridge))
	today = strings.Replace(today, "-A "+chainStage1+" "+string(within("br1", "br1", commentPolicy(policy.SameBridge), "DROP"))+"\n", "", 1)
	old = strings.ReplaceAll(today, commentIsolation, commentOld)
	host := newFakeTable(today)
	for line := range strings.Lines(old) {
		if !strings.HasPrefix(line, "-A ") || !strings.Contains(line, commentOld) || strings.Contains(line, "-j "+chainStage2) {
			continue
		}
		if !strings.Contains(line, "-j RETURN") {
			line = "-I" + strings.TrimPrefix(line, "-A")
		}
		if err := host.command(strings.TrimSpace(line)); err != nil {
			t.Fatal(err)
		}
	}
	return today, old, host.list()
}

func carryOut(t *testing.T, host *fakeTable, p plan) {
	t.Helper()
	if err := host.restore(p.script()); err != nil {
		t.Fatalf("%v:\n%s", err, p.script())
	}
}

// wantSameRules compares two listings but for the order of their lines.
func wantSameRules(t *testing.T, name, got, want string) {
	t.Helper()
	sorted := func(listing string) string {
		return strings.Join(slices.Sorted(strings.Lines(newFakeTable(listing).list())), "")
	}
	if sorted(got) != sorted(want) {
		t.Errorf("%s: the table has\n%s\nwant\n%s", name, got, want)
	}
}
