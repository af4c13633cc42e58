// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// rule is the text of one rule without its chain, as "iptables -S" prints it and
// iptables-restore reads it.
type rule string

var seed = maphash.MakeSeed()

// key identifies a rule. Two rules that differ only in the order or the quoting of
// their options have the same key: versions of iptables print these differently. A
// key is the sum of a 64-bit hash of each option with its negation and values. On a
// host with a million rules, the chance that two rules share a key is less than one
// in ten million.
func (r rule) key() uint64 {
	var sum, option uint64
	for word, starts := range words(string(r)) {
		if starts {
			sum += mix(option)
			option = 0
		}
		option = mix(option) + maphash.String(seed, word)
	}
	return sum + mix(option)
}

// mix spreads the bits of a number, so that words in another order make another sum.
// The steps are those of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// target returns the chain or verdict that -j or -g names.
func (r rule) target() string { return r.value("-j", "-g") }

// value returns the word behind the first of the options that the rule has.
func (r rule) value(options ...string) string {
	found := false
	for word, starts := range words(string(r)) {
		if found {
			return word
		}
		found = starts && slices.Contains(options, word)
	}
	return ""
}

// way is which packets a rule takes where.
type way struct {
	in, out string // interfaces; empty where the rule names none, or all but one
	target  string
	isGoto  bool
}

func (r rule) way() way {
	var w way
	option := ""
	for word, starts := range words(string(r)) {
		switch {
		case starts:
			option = word
			continue
		case option == "-i":
			w.in = word
		case option == "-o":
			w.out = word
		case option == "-j" || option == "-g":
			w.target, w.isGoto = word, option == "-g"
		}
		option = ""
	}
	return w
}

// letsAllOut reports whether the rule lets every packet out of its chain, so that no
// rule behind it can drop one: it matches every packet, and its target is ACCEPT,
// RETURN or a goto.
func (r rule) letsAllOut() bool {
	option := ""
	for word, starts := range words(string(r)) {
		if starts {
			option = word
			if word != "-j" && word != "-g" && word != "-m" && word != "--comment" {
				return false
			}
		} else if option == "-m" && word != "comment" {
			return false
		}
	}
	return option == "-g" || option == "-j" && (r.target() == "ACCEPT" || r.target() == "RETURN")
}

// words yields the words of a rule without their quotes, and whether each starts an
// option: a "-x", a "--x", or the "!" ahead of one. The word behind --comment never
// starts an option, whatever it looks like.
func words(text string) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		value := false // the word belongs to the one before it
		for text = strings.TrimLeft(text, " "); text != ""; text = strings.TrimLeft(text, " ") {
			quoted := text[0] == '"'
			var word string
			if quoted {
				word, text = unquote(text[1:])
			} else {
				word, text, _ = strings.Cut(text, " ")
			}
			starts := !value && !quoted && (word[0] == '-' || word == "!")
			if !yield(word, starts) {
				return
			}
			value = starts && (word == "!" || word == "--comment")
		}
	}
}

// unquote returns the text before the closing quote in s, without its backslashes,
// and what follows the quote.
func unquote(s string) (word, after string) {
	end := strings.IndexAny(s, `"\`)
	if end >= 0 && s[end] == '"' {
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
