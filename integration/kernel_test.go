// SPDX-License-Identifier: Apache-2.0

//go:build kernels

package integration

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// The tests behind the build tag need kernels with all that Debian builds, which they run
// on with `make kernels`. What such a kernel lacks fails them.

// An emulated processor is soon busy, and what waits for it too long is given up.
func init() { hostsAtOnce = "2" }

// onKernel runs a test for iptables and for nftables. firewalld gives up on an emulated
// processor.
func onKernel(t *testing.T, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	t.Run("iptables-nft", func(t *testing.T) { onVariant(t, "nft", body) })
	onNFTables(t, body)
}

// TestKernelVerdicts probes every way between networks of each policy. It is TestVerdicts
// for a slow processor.
func TestKernelVerdicts(t *testing.T) {
	t.Parallel()
	verdicts := func(t *testing.T, h *host.Host) {
		usual.setUp(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"}, place{"open", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		w.check(t, usual, "with the plugin")
		w.call(t, h.Firewall, "CHECK")
		w.remove(t, h)
	}
	onEachVariant(t, verdicts)
	onNFTables(t, verdicts)
}

// among returns the direct ways between containers, in both families.
func among(pairs ...[2]*host.Container) []probe {
	var all []probe
	for _, p := range pairs {
		from, to := p[0], p[1]
		all = append(all, ways(from, to, direct, to.IPv4, to.IPv6, containerPort)...)
	}
	return all
}

// serving attaches a container that serves to a network, without the plugin.
func serving(t *testing.T, h *host.Host, n *host.Network, name string) *host.Container {
	t.Helper()
	c := plain(t, h, n, name)
	ok(t, c.Serve(containerPort))
	return c
}

// holds wants ways to be closed and open with the plugin, and again after a flush and a
// restore. Then it takes the containers away.
func holds(t *testing.T, h *host.Host, running []*host.Container, closed, open []probe) {
	t.Helper()
	for _, when := range []string{"with the plugin", "restored"} {
		expectVerdicts(t, when, closed, host.Blocked)
		expectVerdicts(t, when, open, host.Open)
		for _, c := range running {
			must(c.Call(h.Firewall, "CHECK"))(t)
		}
		shell(t, h, "flush")
		must(h.Run(h.Firewall, "restore"))(t)
	}
	for _, c := range running {
		must(c.Call(h.Firewall, "DEL"))(t)
		ok(t, c.Del())
	}
}
