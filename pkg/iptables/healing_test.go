// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestHealing damages the chains at random and wants one plan to repair them: no rule
// of the plugin is missing, and no rule of others is lost or moved.
func TestHealing(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		host := newFakeTable("")
		applyTo(t, host, sample())
		for _, line := range foreignLines {
			if err := host.command(line); err != nil {
				t.Fatal(err)
			}
		}
		damage(rng, host)
		before := foreignRules(host)
		applyTo(t, host, sample())
		if diff := cmp.Diff(before, foreignRules(host)); diff != "" {
			t.Fatalf("rules of others were changed: %s", diff)
		}
		checkVerdicts(t, host, "br1", "br2", "br3")
	}
}

// damage deletes, repeats and moves rules in the chains that the plugin writes to.
func damage(rng *rand.Rand, host *fakeTable) {
	for range 1 + rng.IntN(6) {
		chain := writtenChains[rng.IntN(len(writtenChains))]
		rules := host.rules[chain]
		if len(rules) == 0 {
			continue
		}
		from, to := rng.IntN(len(rules)), rng.IntN(len(rules))
		r := rules[from]
		switch rng.IntN(4) {
		case 0:
			if isOurs(r) {
				host.rules[chain] = slices.Delete(rules, from, from+1)
			}
		case 1:
			if isOurs(r) {
				host.rules[chain] = slices.Insert(rules, to, r)
			}
		case 2:
			host.rules[chain] = slices.Insert(slices.Delete(rules, from, from+1), to, r)
		case 3:
			host.rules[chain] = slices.Insert(rules, to, "-j RETURN")
		}
	}
}

func isOurs(r string) bool {
	return !slices.ContainsFunc(foreignLines, func(line string) bool { return strings.HasSuffix(line, " "+r) })
}

// foreignRules returns the rules that are not the sample's, in their order.
func foreignRules(host *fakeTable) map[string][]string {
	clean := newFakeTable("")
	for _, line := range planApply(mustParse(clean.list()), policy.IPv4, sample()).lines() {
		_ = clean.command(line)
	}
	left := map[string][]string{}
	for chain, rules := range host.rules {
		for _, r := range rules {
			if !slices.Contains(clean.rules[chain], r) {
				left[chain] = append(left[chain], r)
			}
		}
	}
	return left
}
