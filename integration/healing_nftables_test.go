// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"testing"
)

// TestHealingTable damages the table of a running container.
func TestHealingTable(t *testing.T) {
	t.Parallel()
	inEachFamily(t, onNFTables, func(t *testing.T, p *patient) {
		container := p.networks[0].server
		for _, d := range nftDamages {
			for _, field := range []*string{&d.script, &d.names} {
				*field = strings.NewReplacer("ADDRESS4", container.IPv4, "ADDRESS6", container.IPv6).Replace(*field)
			}
			p.heal(t, d)
		}
	})
}

// TestEveryRuleOfTable deletes one rule after the other.
func TestEveryRuleOfTable(t *testing.T) {
	t.Parallel()
	inEachFamily(t, onNFTables, func(t *testing.T, p *patient) {
		rules := tableRules(p.golden)
		for _, purpose := range nftPurposes {
			rule := purpose.chain + ": " + purpose.rule
			if !rules[rule] {
				t.Errorf("there is no %s", rule)
				continue
			}
			delete(rules, rule)
			if strings.Contains(rule, `"br2"`) {
				continue // it is for the CHECK of others
			}
			p.heal(t, damage{
				name: "without " + rule, script: fmt.Sprintf("unrule %s '%s'", purpose.chain, purpose.rule),
				names: purpose.chain, probe: purpose.probe, becomes: purpose.becomes,
			})
		}
		for rule := range rules {
			t.Errorf("a rule whose purpose is not told: %s", rule)
		}
	})
}

// tableRules returns the rules of a state's table, but for the operator's.
func tableRules(text string) map[string]bool {
	rules := map[string]bool{}
	for line := range strings.Lines(text) {
		chain, rule, isRule := strings.Cut(strings.TrimSpace(line), ": ")
		chain, isChain := strings.CutPrefix(chain, "chain ")
		isRule = isRule && !strings.HasPrefix(rule, "type ") && !strings.HasPrefix(rule, "comment ")
		if isRule && isChain && chain != "CNI-ADMIN" {
			rules[chain+": "+rule] = true
		}
	}
	return rules
}
