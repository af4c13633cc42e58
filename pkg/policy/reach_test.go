// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

func TestReaches(t *testing.T) {
	t.Parallel()
	bridge := func(name string, p IngressPolicy, ports PublishedPorts) Bridge {
		return Bridge{Name: name, IngressPolicy: p, PublishedPorts: ports}
	}
	tests := []struct {
		from, to Bridge
		want     Reach
	}{
		{bridge("a", Open, Allow), bridge("a", Open, Allow), Everything},
		{bridge("a", SameBridge, Deny), bridge("a", SameBridge, Deny), Everything},
		{bridge("a", Isolated, Allow), bridge("a", Isolated, Allow), PublishedOnly},
		{bridge("a", Isolated, Deny), bridge("a", Isolated, Deny), Nothing},
		{bridge("a", Open, Deny), bridge("b", Isolated, Deny), Everything},
		{bridge("a", Isolated, Deny), bridge("b", Open, Deny), Everything},
		{bridge("a", SameBridge, Allow), bridge("b", SameBridge, Allow), PublishedOnly},
		{bridge("a", SameBridge, Deny), bridge("b", Isolated, Allow), PublishedOnly},
		{bridge("a", SameBridge, Allow), bridge("b", Isolated, Deny), Nothing},
		{bridge("a", Strict, Deny), bridge("a", Strict, Deny), Everything},
		{bridge("a", IsolatedStrict, Deny), bridge("a", IsolatedStrict, Deny), Nothing},
		{bridge("a", Open, Allow), bridge("b", Strict, Deny), Nothing},
		{bridge("a", Open, Allow), bridge("b", Strict, Allow), PublishedOnly},
		{bridge("a", Strict, Deny), bridge("b", Open, Deny), Everything},
		{bridge("a", Strict, Deny), bridge("b", SameBridge, Deny), Nothing},
	}
	for _, test := range tests {
		if got := Reaches(test.from, test.to); got != test.want {
			t.Errorf("from %+v to %+v: got %d, want %d", test.from, test.to, got, test.want)
		}
	}
}
