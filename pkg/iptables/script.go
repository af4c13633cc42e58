// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
)

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
		for range c.present {
			lines = append(lines, "-D "+c.chain+" "+string(c.rule))
		}
	}
	for _, c := range slices.Backward(p) {
		if c.op == insert {
			lines = append(lines, "-I "+c.chain+" "+string(c.rule))
		}
	}
	for _, c := range p {
		switch c.op {
		case appendTo:
			lines = append(lines, "-A "+c.chain+" "+string(c.rule))
		case deleteChain:
			lines = append(lines, "-X "+c.chain)
		}
	}
	return lines
}

// what returns the plan's commands, parted into those that add something and those
// that remove something. A rule that moves is among both.
func (p plan) what() (added, removed []string) {
	for _, line := range p.lines() {
		if strings.HasPrefix(line, "-D ") || strings.HasPrefix(line, "-X ") {
			removed = append(removed, line)
		} else {
			added = append(added, line)
		}
	}
	return added, removed
}
