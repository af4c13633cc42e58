// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// threeBridges are bridges with everything that an element can block.
var threeBridges = []policy.Attachment{
	container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"),
	container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
	container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
}

// addToFirst returns the rule set of an ADD to the first bridge.
func addToFirst() policy.RuleSet {
	return policy.Desired(threeBridges...).With(policy.Desired(threeBridges[0]))
}

// TestScope expects an ADD about one bridge to repair missing isolation of the
// others, and nothing else of them.
func TestScope(t *testing.T) {
	t.Parallel()
	br2, br3 := interfaceKey("br2"), interfaceKey("br3")
	without := func(set, key string) func(*hostTable) {
		return func(t *hostTable) { delete(t.set(set).elements, key) }
	}
	tests := map[string]struct {
		do      func(*hostTable)
		repairs bool
	}{
		"another bridge is not isolated":               {without(setIsolated, br2), true},
		"another isolated bridge is open to itself":    {without(setBlockedWithin, br2+br2), true},
		"another bridge's published ports are open":    {addPublished(br3), true},
		"a set is empty":                               {func(t *hostTable) { clear(t.set(setSameBridge).elements) }, true},
		"a set is missing":                             {func(t *hostTable) { t.drop(setSameBridge) }, true},
		"a set has a different type":                   {setDamages(setPublished)[1].do, true},
		"own published ports are blocked":              {without(setPublished, interfaceKey("br1")), true},
		"another bridge's published ports are blocked": {without(setPublished, br2), false},
		"another bridge is blocked within":             {without(setSameBridge, br3+br3), false},
		"another container has no address":             {without(setIPv4, br2+"\x0a\x02\x00\x02"), false},
		"another bridge's addresses can be forged":     {func(t *hostTable) { t.lose(element{set: chainForged, key: br2}) }, true},
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
			if !test.repairs {
				k.wantHost(t, damaged)
			} else if err := check(t, k, addToFirst()); err != nil {
				t.Errorf("not repaired: %v", err)
			}
		})
	}
}

func addPublished(key string) func(*hostTable) {
	e := element{set: setPublished, key: key}
	return func(t *hostTable) { t.set(setPublished).elements[key] = mustParse(elementAttrs(e)) }
}

// elementAttrs returns the attributes of an element.
func elementAttrs(e element) []byte {
	var inside []byte
	for _, value := range mustParse(e.encodeWithComment()) {
		inside = value
	}
	return inside
}

// TestScopeReads expects the number of queries not to grow with the number of
// bridges.
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
