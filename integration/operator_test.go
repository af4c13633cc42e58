// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestOperatorsRules has an operator write rules in the chain that is there for
// it.
func TestOperatorsRules(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		ok(t, w.outside.Serve(portForbidden))
		w.checkAllOpen(t)
		w.protect(t, h)
		one, two := w.networks[0], w.networks[1]
		toldApart := func(when string, want host.Verdict) {
			t.Helper()
			for _, way := range forbiddenWays(w) {
				if got := way.run(); got != string(want) {
					t.Errorf("%s: %s: %s, and not %s", when, way.address, got, want)
				}
			}
		}
		toldApart("without a rule of the operator's", host.Open)
		shell(t, h, nftForbidden+"; nft add rule $t CNI-ADMIN accept")
		const drops, accepts = "chain CNI-ADMIN: tcp dport 7 drop", "chain CNI-ADMIN: accept"
		inForce := func(when string) {
			t.Helper()
			if got := linesWith(state(t, h), "chain CNI-ADMIN: tcp", "chain CNI-ADMIN: accept"); !slices.Equal(got, []string{drops, accepts}) {
				t.Errorf("%s: the operator's rules: %q", when, got)
			}
			toldApart(when, host.Blocked)
			w.check(t, usual, when) // what the operator accepts is isolated all the same
		}
		inForce("with the operator's rules")
		w.protect(t, h)
		inForce("after ADD")
		must(one.peer.Call(h.Firewall, "DEL"))(t)
		must(one.peer.Call(h.Firewall, "ADD"))(t)
		must(gc(h, two.network, two.server, two.peer))(t)
		must(h.Run(h.Firewall, "restore"))(t)
		inForce("after DEL, GC and restore")
		w.call(t, h.Firewall, "CHECK")

		w.remove(t, h)
		left := strings.TrimPrefix(state(t, h), before)
		if !strings.Contains(left, drops+"\n"+accepts+"\n") || strings.Contains(left, "element") {
			t.Errorf("after the last DEL:\n%s", left)
		}
		c := must(h.Add(one.network, "late", nil))(t)
		way := probe{protocol: "TCP", client: c, server: w.outside, address: w.outside.IPv4, port: portForbidden}
		if got := way.run(); got != string(host.Blocked) {
			t.Errorf("from a container that came later: %s", got)
		}
		shell(t, h, "nft flush chain $t CNI-ADMIN")
		ok(t, c.Del())
		same(t, before, state(t, h), "after the last DEL, without a rule of the operator's")
	})
}

// forbiddenWays lead from containers to the port that the operator forbids.
func forbiddenWays(w *world) []probe {
	var all []probe
	for _, e := range w.networks {
		for _, address := range []string{w.outside.IPv4, w.outside.IPv6} {
			all = append(all, probe{protocol: "TCP", client: e.peer, server: w.outside, address: address, port: portForbidden})
		}
	}
	return all
}
