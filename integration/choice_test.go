// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestChoice leaves the backend to the plugin, on hosts that have iptables and
// that have not.
func TestChoice(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		isolated := func() map[string]any { return place{"isolated", "allow"}.firewall() }
		dual := plain(t, h, host.Dual("dual", "br0", 1, isolated()), "dual")
		ipv4 := plain(t, h, &host.Network{Name: "ipv4", Bridge: "br4", Subnets: []string{"10.4.0.0/24"}, Firewall: isolated()}, "ipv4")
		ipv6 := plain(t, h, &host.Network{Name: "ipv6", Bridge: "br6", Subnets: []string{"fd00:6::/64"}, Firewall: isolated()}, "ipv6")
		podmans := host.Dual("podman", "br8", 8, isolated())
		podmans.Firewall["backend"] = ""
		podman := plain(t, h, podmans, "podman")
		before := operators(h, state(t, h))
		for _, c := range []struct {
			container *host.Container
			path      string
			nftables  bool
		}{
			{dual, pathOf(t, programs...), false},
			{podman, pathOf(t, programs...), false},
			{ipv4, pathOf(t, "iptables", "iptables-restore"), false},
			{ipv6, pathOf(t, "ip6tables", "ip6tables-restore"), false},
			{dual, pathOf(t), true},
			{podman, pathOf(t), true},
			{dual, pathOf(t, "nft"), true},
			{dual, "", true},
		} {
			must(c.container.Call(h.Firewall, "ADD", "PATH="+c.path))(t)
			must(c.container.Call(h.Firewall, "CHECK", "PATH="+c.path))(t)
			chose(t, h, c.nftables)
			must(c.container.Call(h.Firewall, "DEL", "PATH="+c.path))(t)
			same(t, before, operators(h, state(t, h)), "after DEL")
		}
	})
}

// chose wants the isolation in the table, whatever the backend, and with iptables
// upstream's rules as well.
func chose(t *testing.T, h *host.Host, nftables bool) {
	t.Helper()
	byTable := must(h.Table())(t) != ""
	byPrograms := linesWith(must(h.Rules())(t), "CNI-ISOLATION-STAGE-") != nil
	if !byTable || byPrograms == nftables {
		t.Errorf("with iptables: %t, with nftables: %t\n%s", byPrograms, byTable, state(t, h))
	}
}

// TestChoiceChanges installs iptables, and removes it, with a container running. The
// network keeps its backend until the conflist names another.
func TestChoiceChanges(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("dual", "br0", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		before := operators(h, state(t, h))
		none, all := "PATH="+pathOf(t), "PATH="+os.Getenv("PATH")
		must(c.Call(h.Firewall, "ADD", none))(t)
		chose(t, h, true)
		must(c.Call(h.Firewall, "DEL", all))(t)
		same(t, before, operators(h, state(t, h)), "DEL, with iptables, of what was added without")

		must(c.Call(h.Firewall, "ADD", none))(t)
		must(c.Call(h.Firewall, "ADD", all))(t)
		chose(t, h, true)
		n.Firewall["backend"] = "iptables"
		must(c.Call(h.Firewall, "ADD", all))(t)
		chose(t, h, false)
		delete(n.Firewall, "backend")
		must(c.Call(h.Firewall, "ADD", all))(t)
		chose(t, h, false)
		must(c.Call(h.Firewall, "CHECK", all))(t)
		must(c.Call(h.Firewall, "DEL", all))(t)
		same(t, before, operators(h, state(t, h)), "DEL with iptables")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}
