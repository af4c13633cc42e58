// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestRetire leaves the host to upstream's plugin with containers running: its CHECK
// passes, its isolation holds, and nothing else of ours is left.
func TestRetire(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, commonPlaces...)
		w.checkAllOpen(t)
		w.protect(t, h)
		w.nonePassBetween(t, "retiring", w.networks[0], w.networks[2], func() { must(h.Run(h.Firewall, "retire"))(t) })
		if lines := linesWith(state(t, h), "CNI-PUBLISHED", "cni_firewall", "forged_source", "ctorigdst"); lines != nil {
			t.Errorf("left:\n%s", strings.Join(lines, "\n"))
		}
		if table := must(h.Table())(t); table != "" {
			t.Errorf("left:\n%s", table)
		}
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
		w.call(t, h.Upstream(), "CHECK")
		for _, from := range []*end{w.networks[0], w.networks[1]} {
			w.nonePassBetween(t, "with upstream's rules", from, w.networks[2], func() {})
		}
		if got, _, err := w.outside.Connect(host.HostIPv4, w.networks[0].hostPort, host.Patience); err != nil || got != host.Open {
			t.Errorf("with upstream's rules, a published port from outside: %s, %v", got, err)
		}
		w.call(t, h.Upstream(), "DEL")

		// With nothing to hand over it changes nothing.
		left := state(t, h)
		must(h.Run(h.Firewall, "retire"))(t)
		same(t, left, state(t, h), "a second time")
	})
}

// TestRetireRefused keeps what upstream's plugin could not isolate.
func TestRetireRefused(t *testing.T) {
	t.Parallel()
	refuses := func(t *testing.T, h *host.Host, words string) {
		t.Helper()
		before := state(t, h)
		output, err := h.Run(h.Firewall, "retire")
		if err == nil || !strings.Contains(output+err.Error(), words) {
			t.Errorf("retire: %v: %s, want %q", err, output, words)
		}
		same(t, before, state(t, h), "retire, refused")
	}
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"strict", "allow"}.firewall())
		c := plain(t, h, n, "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		refuses(t, h, "no such policy")
		must(h.Run(h.Firewall, "retire", "--force"))(t)
		if lines := linesWith(state(t, h), "strict"); lines != nil {
			t.Errorf("left:\n%s", strings.Join(lines, "\n"))
		}
		n.Firewall = place{"same-bridge", "allow"}.firewall()
		must(c.Call(h.Upstream(), "CHECK"))(t)
	})
	onNFTables(t, func(t *testing.T, h *host.Host) {
		must(plain(t, h, host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall()), "container").Call(h.Firewall, "ADD"))(t)
		refuses(t, h, "iptables")
		must(h.Run(h.Firewall, "retire", "--force"))(t)
		if table := must(h.Table())(t); table != "" {
			t.Errorf("forced: left:\n%s", table)
		}
	})
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Sysctl("net/bridge/bridge-nf-call-iptables=0"))
		must(plain(t, h, host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall()), "container").Call(h.Firewall, "ADD"))(t)
		refuses(t, h, "br_netfilter")
	})
}
