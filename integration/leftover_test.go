// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// What hosts do at shutdown and at boot: netfilter-persistent and iptables-services save
// iptables, nftables.service loads a saved rule set.
const (
	saveRules = `iptables-save >rules.v4; ip6tables-save >rules.v6
		nft list table inet cni_firewall >rules.nft 2>/dev/null || :
		nft list table bridge cni_firewall >>rules.nft 2>/dev/null || :`
	loadRules   = "iptables-restore <rules.v4; ip6tables-restore <rules.v6; nft -f rules.nft"
	flushFilter = `for i in iptables ip6tables; do echo '*filter
COMMIT' | $i-restore; done
		`
	flushRules = flushFilter + `nft delete table inet cni_firewall 2>/dev/null || :
		nft delete table bridge cni_firewall 2>/dev/null || :`
)

// TestLastBoot has a host boot with the rules that it had before, and none of the
// containers, whose addresses others get now.
func TestLastBoot(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		w.protect(t, h)
		here := "cd " + t.TempDir() + "\n"
		shell(t, h, here+saveRules)
		for _, e := range w.networks {
			e.network.Plain = true
			for _, c := range []*host.Container{e.server, e.peer} {
				ok(t, c.Del()) // as a boot does, without the plugin
			}
			shell(t, h, "ip link delete "+e.network.Bridge)
		}
		shell(t, h, here+flushRules+"\nrm -rf "+dataDir+"\n"+loadRules)
		if h.Backend.Key == host.FirewalldZones {
			shell(t, h, "firewall-cmd --reload") // its zones keep no addresses
		}

		problems := ill(t, h)
		if len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), "without an owner") {
			t.Fatalf("after the boot: %q", problems)
		}
		young := plain(t, h, w.networks[0].network, "young")
		w.networks[0].network.Plain = false
		must(young.Call(h.Firewall, "ADD"))(t)
		healthy(t, h, "after the first ADD")
		now := state(t, h)
		for _, e := range w.networks {
			for _, address := range []string{e.server.IPv4, e.peer.IPv4, e.server.IPv6, e.peer.IPv6} {
				if left := linesWith(now, address+"/", address+`"`, address+" "); left != nil && address != young.IPv4 && address != young.IPv6 {
					t.Errorf("of a container of the last boot: %q", left)
				}
			}
		}
		if left := linesWith(now, w.networks[1].network.Bridge); left != nil {
			t.Errorf("of a bridge of the last boot: %q", left)
		}
		must(young.Call(h.Firewall, "DEL"))(t)
		ok(t, young.Del())

		// Nor does restore leave anything.
		shell(t, h, here+loadRules)
		must(h.Run(h.Firewall, "restore"))(t)
		same(t, before, remaining(t, h, state(t, h)), "restored without containers")
	})
}

// TestDownAndUp has upstream's plugin delete a container that ours added, and ours come
// back.
func TestDownAndUp(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"same-bridge", "deny"})
		w.protect(t, h)
		healthy(t, h, "before")
		gone := w.networks[0].peer
		must(gone.Call(h.Upstream(), "DEL"))(t)
		w.networks[0].network.Plain = true
		ok(t, gone.Del())
		w.networks[0].network.Plain = false

		problems := ill(t, h)
		if len(problems) != 1 || problems[0].Cure != "cni-firewall restore" ||
			!strings.Contains(problems[0].Problem, fmt.Sprintf("container %q of network %q was deleted without this plugin", gone.Name, "net1")) {
			t.Errorf("got %q", problems)
		}
		if o := finish(t, exec.Command(h.Firewall, "restore")); o.err != nil {
			t.Fatal(o)
		}
		healthy(t, h, "restored")
		if left := linesWith(state(t, h), gone.IPv4+"/", gone.IPv6+"/"); left != nil {
			t.Errorf("left of the container: %q", left)
		}
		must(w.networks[0].server.Call(h.Firewall, "CHECK"))(t)
		must(w.networks[0].server.Call(h.Firewall, "DEL"))(t)
		ok(t, w.networks[0].server.Del())
		for _, c := range []*host.Container{w.networks[1].server, w.networks[1].peer} {
			must(c.Call(h.Firewall, "DEL"))(t)
			ok(t, c.Del())
		}
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// TestOtherAddress has a runtime add a container a second time, with another address.
func TestOtherAddress(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
		c := plain(t, h, n, "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		first := c.PrevResult
		c.PrevResult = []byte(strings.ReplaceAll(string(first), c.IPv4, "10.1.0.77"))
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
		healthy(t, h, "added again")
		if now := state(t, h); linesWith(now, "10.1.0.77") == nil || linesWith(now, c.IPv4+"/", c.IPv4+`"`, c.IPv4+" ", c.IPv4+"\n") != nil {
			t.Errorf("%s became 10.1.0.77:\n%s", c.IPv4, now)
		}
		c.PrevResult = first
		must(c.Call(h.Firewall, "ADD"))(t)
		if left := linesWith(state(t, h), "10.1.0.77"); left != nil {
			t.Errorf("left of the other address: %q", left)
		}
	})
}

// TestSwapOnNFTables replaces upstream's plugin by ours on a host whose conflists choose
// nftables from then on. Nothing else is done, and nothing opens.
func TestSwapOnNFTables(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"same-bridge", "allow"}, place{"same-bridge", "allow"})
		w.networks[0].alias, w.networks[1].alias, w.networks[2].alias = "theirs", "also theirs", "ours"
		w.checkAllOpen(t)
		w.call(t, h.Upstream(), "ADD")
		o := finish(t, exec.Command(h.Firewall, "status"))
		if o.err != nil || strings.Count(o.stderr, "is isolated by another plugin alone") != len(w.networks) {
			t.Errorf("status before the first ADD: %v: %s%s", o.err, o.stdout, o.stderr)
		}
		for _, e := range w.networks {
			e.network.Backend = host.NFTables
		}
		ours := w.networks[2]
		must(ours.server.Call(h.Firewall, "ADD"))(t)
		shell(t, h, flushFilter)
		w.compare(t, "after the first ADD, without upstream's rules", func(p probe) host.Verdict {
			if p.to != "ours" {
				p.target.PublishedPorts = "deny"
			}
			return w.expected(p, usual)
		})
		// One ADD opens what its network publishes.
		must(w.networks[0].server.Call(h.Firewall, "ADD"))(t)
		must(w.networks[1].server.Call(h.Firewall, "ADD"))(t)
		w.check(t, usual, "each network added once")
	})
}
