// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFailedDEL has DEL fail. It says so, leaves other containers' rules alone,
// and done again it removes the rest.
func TestFailedDEL(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, everyPlace...)
		w.protect(t, h)
		own := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		before := state(t, h)
		for _, f := range append(single(), lasting()...) {
			must(own.Call(h.Firewall, "ADD"))(t)
			if call(t, h, own, "DEL", f) {
				same(t, before, state(t, h), "a DEL that succeeds with "+f.String())
			}
			keeps(t, before, state(t, h), "DEL with "+f.String())
			must(own.Call(h.Firewall, "DEL"))(t)
			same(t, before, state(t, h), "DEL after DEL with "+f.String())
		}
	})
}

// TestFailedCHECK has a program fail that CHECK asks.
func TestFailedCHECK(t *testing.T) {
	onVariant(t, "nft", func(t *testing.T, h *host.Host) {
		c := must(h.Add(host.Dual("net", "br0", 1, nil), "container", nil))(t)
		before := written(t, h)
		for _, f := range single() {
			call(t, h, c, "CHECK", f)
			same(t, before, written(t, h), "CHECK with "+f.String())
		}
	})
}
