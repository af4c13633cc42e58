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
	for _, b := range host.Backends {
		inParts(t, b, map[string]part{
			"single":  func(t *testing.T, h *host.Host) { testFailedDEL(t, h, single) },
			"lasting": func(t *testing.T, h *host.Host) { testFailedDEL(t, h, lasting) },
		})
	}
}

func testFailedDEL(t *testing.T, h *host.Host, e extent) {
	w := newWorld(t, h, everyPlace...)
	w.protect(t, h)
	own := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
	before := state(t, h)
	eachFault(t, h, e, func(what string, try trial) {
		must(own.Call(h.Firewall, "ADD"))(t)
		if try(own, "DEL") == succeeded {
			same(t, before, state(t, h), "a DEL that succeeds with "+what)
		}
		keeps(t, before, state(t, h), "DEL with "+what)
		must(own.Call(h.Firewall, "DEL"))(t)
		same(t, before, state(t, h), "DEL after DEL with "+what)
	})
}

// TestFailedCHECK has a program or the kernel fail that CHECK asks.
func TestFailedCHECK(t *testing.T) {
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		c := must(h.Add(host.Dual("net", "br0", 1, nil), "container", nil))(t)
		before := written(t, h)
		eachFault(t, h, single, func(what string, try trial) {
			try(c, "CHECK")
			same(t, before, written(t, h), "CHECK with "+what)
		})
	})
}
