// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"testing"
)

// TestWith wants two policies together to block what either blocks, and no more.
func TestWith(t *testing.T) {
	t.Parallel()
	questions := []func(IngressPolicy) bool{IngressPolicy.Isolates, IngressPolicy.Separates, IngressPolicy.IsStrict}
	for i, p := range IngressPolicies {
		for j, q := range IngressPolicies {
			both := p.With(q)
			if !slices.Contains(IngressPolicies, both) || slices.Index(IngressPolicies, both) < max(i, j) {
				t.Errorf("%s with %s: got %q", p, q, both)
			}
			for _, is := range questions {
				if is(both) != (is(p) || is(q)) {
					t.Errorf("%s with %s: %s blocks something else", p, q, both)
				}
			}
		}
	}
}
