// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// change is one step from the table that is to the table that must be.
type change struct {
	op    op
	chain string
	rule  rule

	copies int    // copies of the rule that are there, and go first
	reason string // what is wrong; empty for a rule that only moves along
}

type op int

const (
	newChain   op = iota
	insertRule    // at the head of the chain
	appendRule    // at its end
	deleteRule
	deleteChain
)

// The reasons that CHECK gives.
const (
	chainMissing = "chain is missing"
	ruleMissing  = "rule is missing"
	outOfPlace   = "rule is out of place"
	contradicts  = "rule contradicts the configuration"
)

// adds returns how many of the rule the change leaves.
func (c change) adds() int {
	if c.op == insertRule || c.op == appendRule {
		return 1
	}
	return 0
}

// difference says what is wrong with a table before the change.
func (c change) difference(f policy.Family) error {
	if c.op == newChain {
		return fmt.Errorf("%s: %s: %s", f, c.reason, c.chain)
	}
	return fmt.Errorf("%s: %s: -A %s %s", f, c.reason, c.chain, c.rule)
}

// plan is a list of changes that are made all or none.
type plan []change

func (p *plan) deleteRules(t *table, chain string, rules ...rule) {
	for _, r := range rules {
		if n := t.count(chain, r); n > 0 {
			*p = append(*p, change{deleteRule, chain, r, n, ""})
		}
	}
}

// script returns the plan as input for iptables-restore: one transaction on the
// filter table.
//
// Rules are deleted by what they say, never by number, and inserted at the head,
// so that what others write meanwhile can turn neither into the loss of
// another's rule or a wrong order. A chain is made with -N, because a ":" line
// would empty one that has come into being meanwhile.
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

// lines orders the commands: chains before what jumps to them, removals before
// a moved rule is put back, the head of a chain from its last rule to its first.
func (p plan) lines() []string {
	var lines []string
	for _, c := range p {
		if c.op == newChain {
			lines = append(lines, "-N "+c.chain)
		}
	}
	for _, c := range p {
		for range c.copies {
			lines = append(lines, "-D "+c.chain+" "+string(c.rule))
		}
	}
	for _, c := range slices.Backward(p) {
		if c.op == insertRule {
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

// what returns the plan's commands, parted into those that add something and those
// that remove something. A rule that moves is among both.
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
