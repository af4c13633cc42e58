// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// status calls STATUS for the network of a container.
func status(t *testing.T, plugin string, n *host.Network) outcome {
	t.Helper()
	conf := n.Conf(map[string]any{"cniVersion": "1.1.0"})
	return finish(t, host.Command(plugin, "STATUS", conf, "", ""))
}

// coded wants an error object of a code, with words in its message.
func (o outcome) coded(t *testing.T, what string, code uint, words ...string) {
	t.Helper()
	o.refused(t, what, words...)
	if o.err != nil {
		if got := errorObject(t, o.stdout).Code; got != code {
			t.Errorf("%s: code %d, and not %d: %s", what, got, code, o.stdout)
		}
	}
}

// TestForeignTable has somebody else use the name of the plugin's table.
func TestForeignTable(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		shell(t, h, "nft add table $t; nft add chain $t x; nft add rule $t x counter accept")
		before := written(t, h)
		for _, v := range []string{"ADD", "CHECK"} {
			verb(t, h, c, v).refused(t, v+" beside a foreign table", "cni_firewall")
			same(t, before, written(t, h), v)
		}
		status(t, h.Firewall, n).coded(t, "STATUS beside a foreign table", 50, "cni_firewall")
		verb(t, h, c, "DEL")
		same(t, before, written(t, h), "DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}

		shell(t, h, "wipe")
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
		status(t, h.Firewall, n).silent(t, "STATUS without the foreign table")
	})
}

// TestStatusTakesNothing has the kernel check the tables for STATUS on a host that has
// none, for each policy, and leave the host as it is. An operator's watch of nftables
// hears nothing.
func TestStatusTakesNothing(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		shell(t, h, "nft monitor >/run/heard 2>&1 </dev/null & echo $! >/run/monitor; sleep 0.3; nft add table ip marker")
		before := written(t, h)
		for _, p := range []string{"open", "same-bridge", "isolated"} {
			n := host.Dual("net", "br1", 1, place{p, "allow"}.firewall())
			status(t, h.Firewall, n).silent(t, "STATUS of "+p)
			same(t, before, written(t, h), "STATUS of "+p)
		}
		shell(t, h, "sleep 0.3; kill $(cat /run/monitor)")
		heard := must(h.Run("cat", "/run/heard"))(t)
		if !strings.Contains(heard, "marker") || strings.Contains(heard, "cni_firewall") {
			t.Errorf("heard: %s", heard)
		}
	})
}

// TestWithoutCapability calls the plugin of a runtime that must not change the
// network.
func TestWithoutCapability(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"})
		w.protect(t, h)
		n := w.networks[0].network
		c := plain(t, h, n, "newcomer")
		n.Plain = false
		powerless := filepath.Join(t.TempDir(), "firewall")
		script := "exec setpriv --bounding-set -net_admin --inh-caps -net_admin '" + h.Firewall + "' \"$@\"\n"
		ok(t, host.WriteScript(powerless, script))

		before, files := written(t, h), len(records(t, dataDir))
		call := func(verb string) outcome {
			return finish(t, host.Command(powerless, verb, c.Conf(), c.Name, c.NetNS))
		}
		call("ADD").refused(t, "ADD without CAP_NET_ADMIN", "operation not permitted")
		call("CHECK").refused(t, "CHECK without CAP_NET_ADMIN", "operation not permitted")
		status(t, powerless, n).coded(t, "STATUS without CAP_NET_ADMIN", 50, "operation not permitted")
		same(t, before, written(t, h), "calls without CAP_NET_ADMIN")
		if left := records(t, dataDir); len(left) != files {
			t.Errorf("records: %q", left)
		}

		must(c.Call(h.Firewall, "ADD"))(t)
		added := written(t, h)
		call("DEL").refused(t, "DEL without CAP_NET_ADMIN", "operation not permitted")
		same(t, added, written(t, h), "DEL without CAP_NET_ADMIN")
		recordOf(t, dataDir, c)
		must(c.Call(h.Firewall, "DEL"))(t)
	})
}
