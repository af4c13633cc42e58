// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
)

// columns is the width of a screen, and of what the help prints.
const columns = 80

func (p plugin) help(in input) error {
	all := commands()
	text := helpOfAll(all)
	if len(in.operands) > 0 {
		c, rest, found := find(all, in.operands)
		if !found || len(rest) > 0 {
			return unknownCommand(all, in.operands)
		}
		text = c.help()
	}
	_, err := io.WriteString(p.stdout, text)
	return err
}

// unknownCommand names the command that is nearest to what was typed.
func unknownCommand(all []command, args []string) error {
	var names []string
	typed := args[0]
	for _, c := range all {
		names = append(names, c.name)
		if len(args) > 1 && strings.HasPrefix(c.name, args[0]+" ") {
			typed = strings.Join(args[:2], " ")
		}
	}
	return &usageError{problem: fmt.Sprintf("unknown command %q%s", typed, suggestion(typed, names))}
}

// helpOfAll returns the list of the commands.
func helpOfAll(all []command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s COMMAND [FLAG...]\n\n", program)
	b.WriteString(wrap("The operator's command of the CNI plugin firewall. "+
		"It is for root, in the network namespace whose rules are meant.", ""))
	b.WriteString("\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  %-12s  %s\n", c.name, c.does)
	}
	fmt.Fprintf(&b, "\nRun \"%s help COMMAND\" for the flags of a command.\n", program)
	fmt.Fprintf(&b, "\nExample:\n  %s status\n", program)
	b.WriteString("\nExit status: 0 well, 1 something is wrong, 2 the command line is not valid.\n")
	return b.String()
}

// help returns the help of a command.
func (c command) help() string {
	var b strings.Builder
	usage := strings.TrimSuffix(strings.Join([]string{"Usage:", program, c.name, c.operands}, " "), " ")
	fmt.Fprintf(&b, "%s [FLAG...]\n\n%s\n", usage, wrap(c.details, ""))
	for _, o := range c.shown() {
		flag := strings.TrimRight("--"+o.name+" "+o.value, " ")
		if o.short != "" {
			flag = "-" + o.short + ", " + flag
		}
		indent := strings.Repeat(" ", 26)
		text := wrap(o.explanation(), indent)
		fmt.Fprintf(&b, "  %-22s  %s", flag, strings.TrimPrefix(text, indent))
	}
	fmt.Fprintf(&b, "\nExample:\n  %s\n", c.example)
	return b.String()
}

// explanation says what a flag does, which values it may have, and which it has where it
// is not given.
func (o option) explanation() string {
	text := o.does
	if o.accepted != nil {
		text += ": " + strings.Join(o.accepted, " or ")
	}
	if o.preset != "" {
		text += " (by default " + o.preset + ")"
	}
	return text
}

// placeholder returns what a flag's value may be.
func (o option) placeholder() string {
	if o.accepted != nil {
		return strings.Join(o.accepted, " or ")
	}
	return o.value
}

// wrap breaks a text into lines that fit the screen, each behind an indent.
func wrap(text, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len(line)+1+len(word) > columns {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
