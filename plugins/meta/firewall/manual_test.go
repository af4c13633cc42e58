// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// manual is the page that the commands are described in.
const manual = "man/cni-firewall.8"

// withSection returns the manual with a section made anew. What is not made of the
// commands is written by hand.
func withSection(t *testing.T, page, name, text string) string {
	t.Helper()
	begin, end := `.\" The `+name+": "+madeBy+"\n", `.\" The end of the `+name+".\n"
	ahead, rest, found := strings.Cut(page, begin)
	_, behind, ends := strings.Cut(rest, end)
	if !found || !ends {
		t.Fatalf("%s has no place for the %s", manual, name)
	}
	return ahead + begin + text + end + behind
}

// synopsis makes the SYNOPSIS of the manual.
func synopsis(all []command) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, ".Nm\n.Cm %s\n", c.name)
		for _, o := range c.shown() {
			if o.name != "help" {
				fmt.Fprintf(&b, ".Op %s\n", manualFlag(o, o.spellings()[0]))
			}
		}
		for operand := range strings.FieldsSeq(c.operands) {
			name, more := strings.CutSuffix(strings.Trim(operand, "[]"), "...")
			switch {
			case !strings.HasPrefix(operand, "["):
				fmt.Fprintf(&b, ".Ar %s\n", strings.ToLower(operand))
			case more:
				fmt.Fprintf(&b, ".Op Ar %s ...\n", strings.ToLower(name))
			default:
				fmt.Fprintf(&b, ".Op Ar %s\n", strings.ToLower(name))
			}
		}
	}
	return b.String()
}

// manualCommands makes the list of commands in the DESCRIPTION.
func manualCommands(all []command) string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for _, c := range all {
		fmt.Fprintf(&b, ".It Cm %s\n%s.Bl -tag -width Ds\n", c.name, manualText(c.details))
		for _, o := range c.shown() {
			var spellings []string
			for _, spelling := range o.spellings() {
				spellings = append(spellings, "Fl "+spelling[1:])
			}
			spellings[len(spellings)-1] = manualFlag(o, "--"+o.name)
			fmt.Fprintf(&b, ".It %s\n%s", strings.Join(spellings, " , "), manualText(o.sentence()))
		}
		fmt.Fprintf(&b, ".El\n.Pp\nFor example:\n.Bd -literal -offset indent\n# %s\n.Ed\n", manualEscaped(c.example))
	}
	b.WriteString(".El\n")
	return b.String()
}

// manualFlag returns a flag with its value as the manual's macros. Fl makes a dash.
func manualFlag(o option, spelling string) string {
	text := "Fl " + spelling[1:]
	switch {
	case o.accepted != nil:
		text += " Cm " + strings.Join(o.accepted, " | ")
	case o.value != "":
		text += " Ar " + strings.ToLower(o.value)
	}
	return text
}

// sentence says what a flag does.
func (o option) sentence() string {
	text := strings.ToUpper(o.does[:1]) + o.does[1:]
	if o.preset != "" {
		text += ", by default " + o.preset
	}
	return text + "."
}

// manualText returns a text with each sentence on a line of its own.
func manualText(text string) string {
	return manualEscaped(strings.ReplaceAll(text, ". ", ".\n")) + "\n"
}

var lineStart = regexp.MustCompile(`(?m)^[.']`)

func manualEscaped(text string) string {
	return lineStart.ReplaceAllString(strings.ReplaceAll(text, `\`, `\e`), `\&$0`)
}
