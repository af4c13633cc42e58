// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestUpgrade replaces upstream's plugin by ours, with containers running.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, commonPlaces...)
		w.checkAllOpen(t)
		w.call(t, h.Upstream(), "ADD")
		upstreams := state(t, h)

		// Upstream's rules are those of "deny", in its order.
		handles := writtenByPrograms(t, h)
		for _, e := range w.networks {
			if e.PublishedPorts == "deny" {
				for _, c := range []*host.Container{e.server, e.peer} {
					must(c.Call(h.Firewall, "CHECK"))(t)
					must(c.Call(h.Firewall, "ADD"))(t)
				}
			}
		}
		same(t, handles, writtenByPrograms(t, h), "ADD over the same rules of upstream")

		w.protect(t, h)
		keeps(t, upstreams, state(t, h), "our ADD")
		w.check(t, usual, "after an upgrade")
		w.call(t, h.Upstream(), "CHECK")
		w.call(t, h.Firewall, "CHECK")

		w.remove(t, h)
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}

// TestDowngrade goes the other way, and halfway, so that one bridge has
// containers of both plugins.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, commonPlaces...)
		w.checkAllOpen(t)
		for _, e := range w.networks {
			must(e.server.Call(h.Firewall, "ADD"))(t)
		}
		ours := state(t, h)
		for _, e := range w.networks {
			must(e.peer.Call(h.Upstream(), "ADD"))(t)
		}
		keeps(t, ours, state(t, h), "upstream's ADD")
		w.check(t, usual, "after a downgrade")
		w.call(t, h.Upstream(), "CHECK")
		w.call(t, h.Firewall, "CHECK")

		w.call(t, h.Upstream(), "DEL")
		for _, e := range w.networks {
			if lines := rulesWith(state(t, h), e.server.IPv4+"/", e.server.IPv6+"/", e.peer.IPv4+"/", e.peer.IPv6+"/"); lines != nil {
				t.Errorf("upstream's DEL leaves\n%s", strings.Join(lines, "\n"))
			}
		}
		w.remove(t, h)
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}

// TestUpstreamLeftovers upgrades a host on which upstream's plugin left what it
// is known to leave.
func TestUpstreamLeftovers(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "deny"}, place{"same-bridge", "deny"})
		w.networks[2].alias = "upstream's"
		w.checkAllOpen(t)
		w.call(t, h.Upstream(), "ADD")

		// The drop of the former policy.
		w.networks[0].become(place{"same-bridge", "allow"})
		w.call(t, h.Upstream(), "ADD")
		if w.networks[0].probes(probe{client: w.networks[0].peer})[0].run() != string(host.Blocked) {
			t.Error("upstream's ADD has become better")
		}
		// Every rule twice, of parallel ADDs, and CNI-FORWARD ahead of the isolation;
		// and, of whomever, stages that end before they begin, with a bridge in them
		// that ours has never seen.
		shell(t, h, `for i in iptables ip6tables; do
			$i -S | grep -- '^-A ' | while read -r rule; do eval "$i $rule"; done
			$i -I `+jumpForward+`
			$i -I `+stage1Return+`
			$i -I `+stage2Return+`
		done`)
		for _, e := range w.networks[:2] {
			must(e.server.Call(h.Firewall, "ADD"))(t)
			must(e.peer.Call(h.Firewall, "ADD"))(t)
		}
		w.call(t, h.Firewall, "CHECK")
		w.check(t, usual, "after an upgrade")

		w.remove(t, h)
		left := state(t, h)
		for _, line := range slices.Compact(slices.Sorted(strings.Lines(left))) {
			if n := strings.Count(left, line); n > 2 && strings.HasPrefix(line, "-A ") { // twice in each family
				left = strings.Replace(left, line, "", n-2)
			}
		}
		same(t, before, remaining(t, h, left), "after the last DEL")
	})
}

// keeps ends the test if a state lacks a rule of the state before, or has it
// more often.
func keeps(t *testing.T, before, after, what string) {
	t.Helper()
	for line := range strings.Lines(before) {
		if want, got := strings.Count(before, line), strings.Count(after, line); want != got {
			t.Errorf("%s: there are %d, and there were %d: %s", what, got, want, line)
		}
	}
}
