// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// table is the filter table of one family as "iptables -S" lists it, reduced to
// what the plugin has to do with.
type table struct {
	chains map[string]bool      // by name, all of them
	rules  map[string]*ruleList // by chain, of those that the plugin writes to

	// referred are the chains that rules of chains lead to which are not the plugin's.
	referenced map[string]bool
}

// ruleList is the rules of a chain in the kernel's order.
type ruleList struct {
	list      []rule
	positions map[uint64]position // by key
}

// place says where the first of some equal rules stands, and how many there are.
type position struct {
	first, copies int
}

// written are the chains whose rules the plugin compares.
var writtenChains = append([]string{chainForward}, policy.PluginChains...)

// parseTable reads the output of "iptables -S". A line that it does not know is
// an error: what is there could not be told from what is missing.
func parseTable(output string) (*table, error) {
	t := &table{chains: map[string]bool{}, rules: map[string]*ruleList{}, referenced: map[string]bool{}}
	for _, chain := range writtenChains {
		t.rules[chain] = &ruleList{positions: map[uint64]position{}}
	}
	for line, whole := range statements(output) {
		kind, rest, _ := strings.Cut(line, " ")
		name, text, _ := strings.Cut(rest, " ")
		switch {
		case !whole:
			return nil, fmt.Errorf("no end of the quotes in the output of iptables -S: %.200q", line)
		case line == "" || line[0] == '#': // a warning of iptables-nft
		case (kind == "-P" || kind == "-N") && name != "":
			t.chains[name] = true
		case kind == "-A" && name != "":
			t.addRule(name, text)
		default:
			return nil, fmt.Errorf("unknown line in the output of iptables -S: %.200q", line)
		}
	}
	if !t.chains[chainForward] {
		return nil, fmt.Errorf("iptables -S lists no chain %s: it is no iptables, or its table is not one of a filter", chainForward)
	}
	return t, nil
}

func (t *table) addRule(chain, text string) {
	if rules, ok := t.rules[chain]; ok {
		rules.add(rule(text))
		return
	}
	if strings.Contains(text, " CNI-") { // as the plugin's chains, and few of others' rules
		t.referenced[rule(text).target()] = true
	}
}

func (rl *ruleList) add(r rule) {
	key := r.key()
	at, known := rl.positions[key]
	if !known {
		at.first = len(rl.list)
	}
	at.copies++
	rl.positions[key] = at
	rl.list = append(rl.list, r)
}

// find returns where the first copy of a rule stands in a chain, and how many
// there are.
func (t *table) find(chain string, r rule) (first, copies int) {
	at := t.rules[chain].positions[r.key()]
	return at.first, at.copies
}

// count returns how often a rule stands in a chain.
func (t *table) count(chain string, r rule) int {
	_, copies := t.find(chain, r)
	return copies
}

// those returns the rules of a chain that are among some, each once, in the
// kernel's order.
func (t *table) present(chain string, some []rule) []rule {
	keys := map[uint64]bool{}
	for _, r := range some {
		keys[r.key()] = true
	}
	var found []rule
	for _, r := range t.rules[chain].list {
		if keys[r.key()] {
			keys[r.key()] = false
			found = append(found, r)
		}
	}
	return found
}
