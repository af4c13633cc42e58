// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// chain is what each plugin of a conflist is told that still has the standalone
// isolation behind the firewall: neither names a policy.
var chain = []string{"firewall", "isolation"}

// callChain calls a verb of both for a container, in the order of the verb.
func callChain(t *testing.T, h *host.Host, e *end, c *host.Container, verb string) {
	t.Helper()
	e.network.Firewall = nil
	types := slices.Clone(chain)
	if e.isolates() {
		if verb == "DEL" {
			slices.Reverse(types)
		}
	} else {
		types = types[:1]
	}
	for _, name := range types {
		must(callAs(h, e, c, name, verb))(t)
	}
}

// callAs calls a verb under the name of a plugin.
func callAs(h *host.Host, e *end, c *host.Container, name, verb string, variables ...string) (string, error) {
	conf := e.network.Conf(map[string]any{"type": name, "prevResult": c.PrevResult})
	return host.Call(h.Firewall, verb, conf, c.Name, c.NetNS, variables...)
}

func (w *world) callChain(t *testing.T, h *host.Host, verb string) {
	t.Helper()
	for _, e := range w.networks {
		callChain(t, h, e, e.server, verb)
		callChain(t, h, e, e.peer, verb)
	}
}

// isolationWorld is two networks whose conflist ends in isolation, and an open one.
func isolationWorld(t *testing.T, h *host.Host, publishedPorts string) *world {
	t.Helper()
	w := newWorld(t, h, place{"same-bridge", publishedPorts}, place{"same-bridge", publishedPorts}, place{"open", "allow"})
	w.networks[1].alias = "another"
	w.checkAllOpen(t)
	return w
}

// TestIsolation has conflists that still say {"type":"firewall"},{"type":"isolation"}.
func TestIsolation(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := isolationWorld(t, h, "allow")
		w.callChain(t, h, "ADD")
		w.check(t, usual, "with isolation")
		w.callChain(t, h, "CHECK")
		golden := state(t, h)
		isolated := isolationOf(golden)

		e := w.networks[0]
		must(callAs(h, e, e.server, "firewall", "ADD"))(t)
		same(t, golden, state(t, h), "an ADD of the firewall alone")
		shell(t, h, "iptables -F; ip6tables -F; nft delete table inet cni_firewall 2>/dev/null || true")
		must(callAs(h, e, e.server, "isolation", "ADD"))(t)
		if gone := extra(isolationOf(state(t, h)), isolated); gone != nil {
			t.Errorf("after a flush and one ADD of isolation there is no\n%s", strings.Join(gone, "\n"))
		}
		must(h.Run(h.Firewall, "restore"))(t)
		w.callChain(t, h, "CHECK")
		w.check(t, usual, "restored")

		// A network's attachments of the one plugin are not the other's.
		none := e.network.Conf(map[string]any{"type": "firewall", "cniVersion": "1.1.0", "cni.dev/valid-attachments": []any{}})
		must(host.Call(h.Firewall, "GC", none, "", "", "CNI_IFNAME="))(t)
		must(callAs(h, e, e.server, "isolation", "CHECK"))(t)
		must(callAs(h, e, e.server, "firewall", "ADD"))(t)

		w.callChain(t, h, "DEL")
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// TestIsolationAlone forwards nothing, and needs tools only for the families of
// its containers.
func TestIsolationAlone(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		n := host.Dual("net", "br1", 1, nil)
		n.Subnets = n.Subnets[:1]
		e := &end{place: place{"same-bridge", "allow"}, network: n, server: plain(t, h, n, "container")}
		path := "PATH=" + pathOf(t, "iptables", "iptables-restore")
		for _, verb := range []string{"ADD", "CHECK", "ADD"} {
			must(callAs(h, e, e.server, "isolation", verb, path))(t)
		}
		if rules := state(t, h); strings.Contains(rules, "CNI-FORWARD") || !strings.Contains(rules, "CNI-ISOLATION-STAGE-2 -o br1 ") {
			t.Errorf("isolation alone makes\n%s", rules)
		}
		must(callAs(h, e, e.server, "isolation", "DEL", path))(t)
		same(t, before, state(t, h), "DEL")
		about := must(h.Run("bash", "-c", `exec -a /opt/cni/bin/isolation "$0" 2>&1`, h.Firewall))(t)
		if !strings.HasPrefix(about, "CNI isolation plugin v") {
			t.Errorf("it says that it is %s", about)
		}
	})
}

// TestIsolationAloneVerdicts leaves it to others what is forwarded. With iptables,
// where nothing is accepted, published ports are as closed to other isolated
// bridges as with the former plugin.
func TestIsolationAloneVerdicts(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		like := place{"same-bridge", "deny"}
		if h.Backend.HasTable() {
			like.PublishedPorts = "allow"
		}
		w := newWorld(t, h, like, like)
		w.networks[1].alias = "another"
		w.checkAllOpen(t)
		for _, verb := range []string{"ADD", "CHECK"} {
			for _, e := range w.networks {
				e.network.Plain = false
				must(callAs(h, e, e.server, "isolation", verb))(t)
				must(callAs(h, e, e.peer, "isolation", verb))(t)
			}
		}
		w.check(t, usual, "with the isolation alone")
	})
}

// TestIsolationLinked has libcni find the plugin under its other name.
func TestIsolationLinked(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		dir := t.TempDir()
		ok(t, os.Symlink(h.Firewall, filepath.Join(dir, "isolation")))
		n := host.Dual("net", "br1", 1, nil)
		n.Isolation, n.Path = true, []string{dir}
		c := must(h.Add(n, "container", map[int]int{8001: containerPort}))(t)
		if lines := isolation(state(t, h)); linesWith(strings.Join(lines, "\n"), "br1") == nil {
			t.Errorf("not isolated: %q", lines)
		}
		ok(t, c.Check())
		ok(t, c.Del())
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}
