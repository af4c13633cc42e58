// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// strictBridges are one with published ports, and one without.
func strictBridges() []policy.Attachment {
	return []policy.Attachment{
		container("br7", policy.Strict, policy.Allow, "10.7.0.2"),
		container("br8", policy.Strict, policy.Deny, "10.8.0.2"),
	}
}

func strictSample(alone bool) policy.RuleSet {
	rs := sample(strictBridges()...)
	rs.Alone = alone
	return rs
}

// checkStrict walks packets of new connections to the strict bridges from everywhere.
// Without the table, published ports are closed between isolated bridges.
func checkStrict(t *testing.T, host *fakeTable, alone bool) {
	t.Helper()
	isolated := []string{"br1", "br2", "br7", "br8"}
	for _, in := range []string{"eth0", "docker0", "br1", "br2", "br4", "br7", "br8"} {
		for _, out := range []string{"br7", "br8"} {
			for _, p := range []packet{{in: in, out: out}, {in, out, "ORIGINAL", false}, {in, out, "ORIGINAL", true}} {
				published := p.redirected != "" && !p.loopback && out == "br7" && !(alone && slices.Contains(isolated, in))
				got := verdict(host, chainForward, p)
				if want := in != out && !published; (got == "DROP") != want {
					t.Errorf("%+v: got %q, want a drop: %t in\n%s", p, got, want, host.list())
				}
			}
		}
	}
	for _, out := range []string{"eth0", "docker0", "br4"} {
		if got := verdict(host, chainForward, packet{in: "br7", out: out}); got != "" {
			t.Errorf("from br7 to %s: got %q", out, got)
		}
		if got := verdict(host, chainForward, packet{out, "br8", "REPLY", false}); got != "" {
			t.Errorf("a reply from %s to br8: got %q", out, got)
		}
	}
}

// TestStrict takes each rule of strict bridges away, and removes the bridges.
func TestStrict(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		rs := strictSample(alone)
		host := newFakeTable("")
		applyTo(t, host, rs)
		checkStrict(t, host, alone)
		whole := host.list()
		strict := 0
		for _, r := range host.rules[chainStage1] {
			if rule(r).value("--comment") != commentStrict {
				continue
			}
			strict++
			damaged := newFakeTable(whole)
			if err := damaged.command("-D " + chainStage1 + " " + r); err != nil {
				t.Fatal(err)
			}
			if err := snapshotOf(t, damaged).Check(rs); err == nil {
				t.Errorf("CHECK is content without %s", r)
			}
			applyTo(t, damaged, rs)
		}
		if strict != 5 {
			t.Errorf("got %d rules of strict bridges in\n%s", strict, whole)
		}
		removeFrom(t, host, policy.Desired(strictBridges()...))
		without := newFakeTable("")
		rs = sample()
		rs.Alone = alone
		applyTo(t, without, rs)
		if diff := cmp.Diff(without.list(), host.list()); diff != "" {
			t.Errorf("after the removal: %s", diff)
		}
	}
}

// TestStrictKept has strict bridges that stay isolated without a container, beside which
// others come and go.
func TestStrictKept(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	applyTo(t, host, strictSample(false))
	var kept []policy.Attachment
	for _, a := range strictBridges() {
		a.Addresses = nil
		kept = append(kept, a)
	}
	for _, change := range [][]policy.Attachment{kept, strictBridges()} {
		applyTo(t, host, sample(change...))
		checkStrict(t, host, false)
	}
}

// TestAheadOfStrict puts rules of other programs ahead of the isolation.
func TestAheadOfStrict(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]kind{
		"-i lan0 -j ACCEPT":            possible,
		"-i lan0 -o br7 -j ACCEPT":     possible,
		"-i docker0 -o br+ -j ACCEPT":  possible,
		"-i br1 -o docker0 -j ACCEPT":  harmless,
		"-i lan0 -o docker0 -j ACCEPT": harmless,
	} {
		host, rs := newFakeTable(""), strictSample(false)
		applyTo(t, host, rs)
		if err := host.command("-I FORWARD " + text); err != nil {
			t.Fatal(err)
		}
		checkTold(t, snapshotOf(t, host), text, want)
		checkHealed(t, host, rs, text, want)
	}
}
