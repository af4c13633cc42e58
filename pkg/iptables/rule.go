// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// rule is one rule without its chain, as "iptables -S" prints it and
// iptables-restore reads it.
type rule string

var seed = maphash.MakeSeed()

// key is the same for two rules that differ only in the order of their options
// or in their quoting, which versions of iptables print differently: the sum of
// a 64-bit hash of each option with its negation and values. On a host with a
// million rules, two share a key with a chance of less than one in ten million.
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

// mix spreads the bits of a number, so that a word which changes places with
// another makes another sum: the steps are those of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// target returns the chain or verdict behind -j or -g.
func (r rule) target() string { return r.value("-j", "-g") }

// value returns the word behind the first of some options.
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

// endsOpen reports whether the rule lets every packet out of its chain, so that
// what stands behind it drops nothing: it looks at no property of the packet,
// and accepts it or goes on behind the chain.
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

// words yields the words of a rule without their quotes, and whether each starts
// an option: whether it is a "-x" or "--x", or the "!" ahead of one. What stands
// behind --comment never does, whatever it looks like.
func words(text string) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		value := false // the word at hand belongs to the one before it
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

// unquote returns what stands before the quote that ends s, and behind it.
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
