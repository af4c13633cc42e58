// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// rule is one rule without its chain: the arguments that iptables takes, and
// that "iptables -S" gives back, one an element.
type rule []string

// words makes a rule of a text without quotes, and of a comment.
func words(comment, text string, args ...any) rule {
	r := rule(strings.Fields(fmt.Sprintf(text, args...)))
	if comment == "" {
		return r
	}
	// iptables prints the matches, among them the comment, ahead of the target.
	at := slices.Index(r, "-j")
	return slices.Insert(r, at, "-m", "comment", "--comment", comment)
}

// String returns the rule as iptables-restore reads it.
func (r rule) String() string {
	quoted := make([]string, len(r))
	for i, word := range r {
		quoted[i] = quote(word)
	}
	return strings.Join(quoted, " ")
}

// key is the same for two rules that differ only in the order of their
// options, which versions of iptables print differently.
func (r rule) key() string { return r.listed().key }

// listed returns what a comparison needs to know of the rule.
func (r rule) listed() listed {
	l := listed{matchesAll: true}
	options := groups(r)
	for _, o := range options {
		switch name, value, _ := strings.Cut(o, "\x00"); {
		case name == "-j", name == "-g":
			l.target, l.leaves = value, name == "-g" || value == "ACCEPT" || value == "RETURN"
		case name != "--comment" && o != "-m\x00comment":
			l.matchesAll = false
		}
	}
	slices.Sort(options)
	l.key = strings.Join(options, "\x01")
	return l
}

// groups splits a rule into its options, each with its negation and its values.
func groups(r rule) []string {
	var g []string
	negated, value := false, false
	for _, word := range r {
		switch {
		case value: // whatever it looks like
			g[len(g)-1] += "\x00" + word
			value = false
		case word == "!":
			negated = true
		case strings.HasPrefix(word, "-") || len(g) == 0:
			if negated {
				word = "!\x00" + word
			}
			g = append(g, word)
			negated, value = false, word == "--comment"
		default:
			g[len(g)-1] += "\x00" + word
		}
	}
	return g
}

// quote is the reverse of split for one word.
func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\r\n\"'\\()|") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// split cuts a line of "iptables -S" into words.
func split(line string) (rule, error) {
	var r rule
	for rest := strings.TrimLeft(line, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		if rest[0] != '"' {
			word, after, _ := strings.Cut(rest, " ")
			r, rest = append(r, word), after
			continue
		}
		word, after, err := unquote(rest)
		if err != nil {
			return nil, err
		}
		r, rest = append(r, word), after
	}
	return r, nil
}

// unquote reads the quoted word that s begins with and returns what follows it.
func unquote(s string) (word, after string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("no end of the quotes in %q", s)
}
