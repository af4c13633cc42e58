// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// threeBridges are bridges with all that can be closed.
var threeBridges = []policy.Attachment{
	container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"),
	container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
	container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
}

// addToFirst is what an ADD to the first bridge asks for. It is about that one.
func addToFirst() policy.RuleSet {
	return policy.Desired(threeBridges...).With(policy.Desired(threeBridges[0]))
}

// TestScope has an ADD about one bridge close what is open of another, and
// leave alone what is closed.
func TestScope(t *testing.T) {
	t.Parallel()
	br2, br3 := interfaceKey("br2"), interfaceKey("br3")
	lose := func(set, key string) func(*hostTable) {
		return func(t *hostTable) { delete(t.set(set).elements, key) }
	}
	tests := map[string]struct {
		do    func(*hostTable)
		heals bool
	}{
		"another bridge is not isolated":            {lose(setIsolated, br2), true},
		"another bridge is not isolated in itself":  {lose(setBlockedWithin, br2+br2), true},
		"another bridge's published ports are open": {addPublished(br3), true},
		"a set of theirs is missing":                {func(t *hostTable) { t.drop(setSameBridge) }, true},
		"a set is of another type":                  {setDamages(setPublished)[1].do, true},
		"own published ports are closed":            {lose(setPublished, interfaceKey("br1")), true},
		"another's published ports are closed":      {lose(setPublished, br2), false},
		"another bridge is closed to itself":        {lose(setSameBridge, br3+br3), false},
		"another's container has no address":        {lose(setIPv4, "\x0a\x02\x00\x02"), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := holding(t, policy.Desired(threeBridges...))
			whole := k.host.String()
			k.otherProgram(func(h *host) { test.do(h.table()) })
			damaged := k.host.String()
			if whole == damaged {
				t.Fatal("nothing is damaged")
			}
			apply(t, k, addToFirst(), "br1")
			if !test.heals {
				k.holds(t, damaged)
			} else if err := check(t, k, addToFirst()); err != nil {
				t.Errorf("not healed: %v", err)
			}
		})
	}
}

func addPublished(key string) func(*hostTable) {
	m := element{set: setPublished, key: key}
	return func(t *hostTable) { t.set(setPublished).elements[key] = mustParse(elementAttrs(m)) }
}

// elementAttrs returns what is inside an element of a list.
func elementAttrs(m element) []byte {
	var inside []byte
	for _, value := range mustParse(m.encodeWithComment()) {
		inside = value
	}
	return inside
}

// TestScopeReads counts what is asked, which must not grow with the
// number of bridges.
func TestScopeReads(t *testing.T) {
	t.Parallel()
	var counts []int
	for _, n := range []int{20, 200} {
		all := attachmentsOn(n)
		k := holding(t, policy.Desired(all...))
		rs := policy.Desired(all...).With(policy.Desired(all[0]))
		before := k.requests
		apply(t, k, rs, all[0].Bridge)
		counts = append(counts, k.requests-before)
	}
	if counts[0] != counts[1] || counts[0] > 20 {
		t.Errorf("got %v requests with 20 and 200 bridges", counts)
	}
}
