// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"strings"
)

// table is the filter table of one family as "iptables -S" lists it, reduced to
// what the plugin has to do with.
type table struct {
	chains map[string]bool      // by name, all of them
	rules  map[string]*ruleList // by chain, of those that the plugin writes to

	// referred says that a chain which is not the plugin's jumps to its
	// isolation, so that the stages cannot be deleted.
	referred bool
}

// ruleList is the rules of a chain in the kernel's order.
type ruleList struct {
	list   []listed
	first  map[string]int // index of the first rule with a key
	copies map[string]int // how many rules have it
}

// listed is what a comparison needs to know of a rule.
type listed struct {
	key        string // see rule.key
	target     string // the chain or verdict of -j or -g
	matchesAll bool   // it looks at no property of the packet
	leaves     bool   // its packets are accepted, or go on behind the chain
}

// endsOpen reports whether a rule lets every packet out of its chain, so that
// what stands behind it in the chain drops nothing.
func (l listed) endsOpen() bool { return l.matchesAll && l.leaves }

// written are the chains whose rules the plugin compares.
var written = []string{chainForward, chainCNIForward, chainStage1, chainStage2}

// parseTable reads the output of "iptables -S". A line that it does not know is
// an error: what is there could not be told from what is missing.
func parseTable(output string) (*table, error) {
	t := &table{chains: map[string]bool{}, rules: map[string]*ruleList{}}
	for _, chain := range written {
		t.rules[chain] = &ruleList{first: map[string]int{}, copies: map[string]int{}}
	}
	for line := range statements(output) {
		kind, rest, _ := strings.Cut(line, " ")
		name, text, _ := strings.Cut(rest, " ")
		switch {
		case line == "" || line[0] == '#': // a warning of iptables-nft
		case (kind == "-P" || kind == "-N") && name != "":
			t.chains[name] = true
		case kind == "-A" && name != "":
			if err := t.addRule(name, text); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown line in the output of iptables -S: %.200q", line)
		}
	}
	return t, nil
}

func (t *table) addRule(chain, text string) error {
	rules, ok := t.rules[chain]
	if !ok {
		t.referred = t.referred || strings.Contains(text, chainStage1) || strings.Contains(text, chainStage2)
		return nil
	}
	r, err := split(text)
	if err != nil {
		return fmt.Errorf("rule in chain %s: %w", chain, err)
	}
	rules.add(r.listed())
	return nil
}

func (rl *ruleList) add(l listed) {
	if rl.copies[l.key] == 0 {
		rl.first[l.key] = len(rl.list)
	}
	rl.copies[l.key]++
	rl.list = append(rl.list, l)
}

// index returns where the first rule with a key stands in a chain, or -1.
func (t *table) index(chain, key string) int {
	if at, ok := t.rules[chain].first[key]; ok {
		return at
	}
	return -1
}

// count returns how often a rule stands in a chain.
func (t *table) count(chain, key string) int { return t.rules[chain].copies[key] }

// jumpsToStages returns how many rules of FORWARD lead to a stage.
func (t *table) jumpsToStages() int {
	n := 0
	for _, l := range t.rules[chainForward].list {
		if l.target == chainStage1 || l.target == chainStage2 {
			n++
		}
	}
	return n
}

// statements yields the lines of a listing. A comment may hold a newline, and
// iptables prints it as it is: such lines are one statement.
func statements(output string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for output != "" {
			end := endOfStatement(output)
			if !yield(strings.TrimRight(output[:end], "\r")) {
				return
			}
			output = strings.TrimPrefix(output[end:], "\n")
		}
	}
}

// endOfStatement returns the index of the first newline outside quotes.
func endOfStatement(s string) int {
	line := strings.IndexByte(s, '\n')
	if line < 0 {
		line = len(s)
	}
	if strings.IndexByte(s[:line], '"') < 0 {
		return line
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\n' && !quoted:
			return i
		}
	}
	return len(s)
}
