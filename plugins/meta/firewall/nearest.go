// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// suggestion returns what to say of the known word that is nearest to a typed one, or
// nothing if none is near.
func suggestion(typed string, known []string) string {
	best, least := "", len(typed)/3+2
	for _, word := range known {
		letters := distance(typed, word)
		if typed != "" && strings.HasPrefix(word, typed) {
			letters = 1
		}
		if letters < least {
			best, least = word, letters
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance counts the letters to add, drop, replace or swap with the next one, to make
// one word of the other.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
		for j := range rows[i] {
			switch {
			case i == 0:
				rows[i][j] = j
			case j > 0:
				rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+differs(a[i-1], b[j-1]))
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func differs(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
