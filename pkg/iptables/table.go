// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// table is the filter table of one family as "iptables -S" lists it, reduced to
// what the plugin needs.
type table struct {
	chains     map[string]bool      // all chains, by name
	rules      map[string]*ruleList // of the chains that the plugin writes to
	referenced map[string]bool      // the chains that rules in other chains jump to
	output     string               // all of it

	uplinks func() map[string]bool // the interfaces by which the host reaches the world
}

// ruleList is the rules of one chain in the kernel's order.
type ruleList struct {
	list      []rule
	positions map[uint64]position // by key
}

// position is where the first of equal rules stands, and how many there are.
type position struct {
	first int
	copies
}

// copies are equal rules, of which some have the old comment.
type copies struct{ all, old int }

// writtenChains are the chains that the plugin writes to. It compares their rules.
var writtenChains = append([]string{chainForward}, policy.PluginChains...)

// parseTable reads the output of "iptables -S". A line that it does not know is an
// error: a rule that could not be read would look like a missing one.
func parseTable(output string) (*table, error) {
	t := &table{
		chains: map[string]bool{}, rules: map[string]*ruleList{}, referenced: map[string]bool{}, output: output,
		uplinks: sync.OnceValue(readUplinks),
	}
	for _, chain := range writtenChains {
		t.rules[chain] = &ruleList{positions: map[uint64]position{}}
	}
	for line, whole := range statements(output) {
		kind, rest, _ := strings.Cut(line, " ")
		name, text, _ := strings.Cut(rest, " ")
		switch {
		case !whole:
			return nil, fmt.Errorf("unclosed quote in the output of iptables -S: %.200q", line)
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
		return nil, fmt.Errorf("iptables -S lists no chain %s: this is not the filter table of iptables", chainForward)
	}
	return t, nil
}

func (t *table) addRule(chain, text string) {
	if rules, ok := t.rules[chain]; ok {
		rules.add(rule(text).withoutOldComment())
		return
	}
	// Most rules of other programs name no chain of the plugin's: the search is quick.
	if strings.Contains(text, " CNI-") {
		t.referenced[rule(text).target()] = true
	}
}

// allRules returns the rules of all chains. A host may have thousands of rules that the
// plugin never looks at, so they are not kept.
func (t *table) allRules() map[string][]rule {
	rules := map[string][]rule{}
	for line := range statements(t.output) {
		if rest, isRule := strings.CutPrefix(line, "-A "); isRule {
			chain, text, _ := strings.Cut(rest, " ")
			rules[chain] = append(rules[chain], rule(text))
		}
	}
	return rules
}

func (rl *ruleList) add(r rule, isOld bool) {
	key := r.key()
	at, known := rl.positions[key]
	if !known {
		at.first = len(rl.list)
	}
	at.all++
	if isOld {
		at.old++
	}
	rl.positions[key] = at
	rl.list = append(rl.list, r)
}

// find returns the position of a rule's first copy in a chain, and how many copies
// there are.
func (t *table) find(chain string, r rule) (first int, n copies) {
	at := t.rules[chain].positions[r.key()]
	return at.first, at.copies
}

// count returns how many copies of a rule a chain has.
func (t *table) count(chain string, r rule) int {
	_, n := t.find(chain, r)
	return n.all
}

// present returns those of some rules that a chain has, each once, in the kernel's
// order.
func (t *table) present(chain string, rules []rule) []rule {
	keys := map[uint64]bool{}
	for _, r := range rules {
		keys[r.key()] = true
	}
	return t.matching(chain, func(r rule) bool { return keys[r.key()] })
}

// matching returns the rules of a chain for which a function is true, each once,
// in the kernel's order.
func (t *table) matching(chain string, match func(rule) bool) []rule {
	seen := map[uint64]bool{}
	var found []rule
	for _, r := range t.rules[chain].list {
		if match(r) && !seen[r.key()] {
			seen[r.key()] = true
			found = append(found, r)
		}
	}
	return found
}
