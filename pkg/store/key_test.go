// SPDX-License-Identifier: Apache-2.0

package store

import "testing"

func TestKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, words := range [][3]string{
		{"a", "b", "c"}, {"ab", "", "c"}, {"a", "bc", ""}, {"", "ab", "c"}, {"a", "b", "c1"},
	} {
		key := Key(words[0], words[1], words[2])
		if seen[key] {
			t.Errorf("%q have the key of other words", words)
		}
		seen[key] = true
	}
}
