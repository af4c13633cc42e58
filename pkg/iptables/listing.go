// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"iter"
	"strings"
)

// statements yields the lines of a listing, and whether their quotes are closed. A
// comment may contain a newline, which iptables prints as it is: such lines are one
// statement.
func statements(output string) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for output != "" {
			end, whole := endOfStatement(output)
			if !yield(output[:end], whole) {
				return
			}
			output = strings.TrimPrefix(output[end:], "\n")
		}
	}
}

// endOfStatement returns the index of the first newline outside quotes.
func endOfStatement(s string) (end int, whole bool) {
	if end = strings.IndexByte(s, '\n'); end < 0 {
		end = len(s)
	}
	if strings.Count(s[:end], `"`)%2 == 0 && strings.IndexByte(s[:end], '\\') < 0 {
		return end, true
	}
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"' && !(quoted && escaped(s, i)):
			quoted = !quoted
		case s[i] == '\n' && !quoted:
			return i, true
		}
	}
	return len(s), !quoted
}

// escaped reports whether s[i] follows an odd number of backslashes.
func escaped(s string, i int) bool {
	n := 0
	for n < i && s[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}
