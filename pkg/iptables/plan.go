// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// change is one step from the table as it is to the table as it must be.
type change struct {
	op    op
	chain string
	rule  rule

	copies copies // of the rule in the chain; they are deleted first
	number int    // of the rule that an inserted one comes ahead of, by then; 0 for the head
	reason string // what is wrong; empty where a rule moves along with others, or to be safe
}

type op int

const (
	newChain    op = iota // -N
	insertRule            // -I: at the head of the chain
	appendRule            // -A: at its end
	deleteRule            // -D
	deleteChain           // -X
)

// The reasons that CHECK gives.
const (
	chainMissing = "chain is missing"
	ruleMissing  = "rule is missing"
	outOfPlace   = "rule is out of place"
	contradicts  = "rule contradicts the configuration"
)

// adds returns how many copies of the rule the change adds.
func (c change) adds() int {
	if c.op == insertRule || c.op == appendRule {
		return 1
	}
	return 0
}

// difference names what the change would repair.
func (c change) difference(f policy.Family) error {
	if c.op == newChain {
		return fmt.Errorf("%s: %s: %s", f, c.reason, c.chain)
	}
	return fmt.Errorf("%s: %s: -A %s %s", f, c.reason, c.chain, c.rule)
}

// plan is a list of changes. The kernel makes all of them or none.
type plan []change

// deleteRules adds the deletion of rules, as far as the chain has them.
func (p *plan) deleteRules(t *table, chain string, rules ...rule) {
	for _, r := range rules {
		if _, n := t.find(chain, r); n.all > 0 {
			*p = append(*p, change{op: deleteRule, chain: chain, rule: r, copies: n})
		}
	}
}

// script returns the plan as input for iptables-restore: one transaction on the
// filter table.
//
// The script holds whatever other programs write meanwhile. It deletes rules by
// their text, since a number could by then be that of another rule. It inserts at
// the head of a chain, so that the order is right; a rule with a number isolates nothing,
// and the next ADD puts it right. It makes a chain with -N, since a ":" line would empty
// a chain that exists by then.
func (p plan) script() string {
	var b strings.Builder
	b.WriteString("*filter\n")
	for _, line := range p.lines() {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// lines returns the commands in an order that iptables-restore accepts: a chain is
// made before a rule jumps to it, and a rule that moves is deleted before it is
// inserted. A rule with a number comes first, since the number counts the rules that were
// there. The head of a chain is inserted from its last rule to its first.
func (p plan) lines() []string {
	var lines []string
	for _, c := range p {
		if c.op == newChain {
			lines = append(lines, "-N "+c.chain)
		}
	}
	for _, c := range p {
		for range c.copies.all - c.copies.old {
			lines = append(lines, "-D "+c.chain+" "+string(c.rule))
		}
		for range c.copies.old {
			lines = append(lines, "-D "+c.chain+" "+string(c.rule.withOldComment()))
		}
	}
	for _, c := range p {
		if c.number > 0 {
			lines = append(lines, fmt.Sprintf("-I %s %d %s", c.chain, c.number, c.rule))
		}
	}
	for _, c := range slices.Backward(p) {
		if c.op == insertRule && c.number == 0 {
			lines = append(lines, "-I "+c.chain+" "+string(c.rule))
		}
	}
	for _, c := range p {
		switch c.op {
		case appendRule:
			lines = append(lines, "-A "+c.chain+" "+string(c.rule))
		case deleteChain:
			lines = append(lines, "-X "+c.chain)
		}
	}
	return lines
}

// steps returns the commands that add something and those that remove something,
// as the journal has them. A rule that moves is in both.
func (p plan) steps() (added, removed []string) {
	for _, line := range p.lines() {
		if strings.HasPrefix(line, "-D ") || strings.HasPrefix(line, "-X ") {
			removed = append(removed, line)
		} else {
			added = append(added, line)
		}
	}
	return added, removed
}
