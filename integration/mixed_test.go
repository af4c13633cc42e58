// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestMixed has networks of both backends on one host.
func TestMixed(t *testing.T) {
	t.Parallel()
	for name, nftables := range map[string]int{"the odd ones": 1, "the even ones": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachVariant(t, func(t *testing.T, h *host.Host) { testMixed(t, h, nftables) })
		})
	}
}

// testMixed has networks of every kind, every other one of which uses nftables.
func testMixed(t *testing.T, h *host.Host, nftables int) {
	before := state(t, h)
	w := newWorld(t, h, everyPlace...)
	w.checkAllOpen(t)
	var ours, theirs []*end
	for i, e := range w.networks {
		if e.network.Backend = "iptables"; i%2 == nftables {
			e.network.Backend = host.NFTables
			ours = append(ours, e)
		} else {
			theirs = append(theirs, e)
		}
	}
	w.protect(t, h)
	w.check(t, usual, "with both backends")
	w.checkExplained(t, "with both backends", func(p probe) host.Verdict { return expected(p, usual) })
	w.call(t, h.Firewall, "CHECK")
	rules, table := must(h.Rules())(t), must(h.Table())(t)
	accepted := strings.Join(linesWith(table, "set containers_"), "\n")
	for _, e := range w.networks {
		wantIsolation(t, e, rules, table)
	}
	wantAddresses(t, ours, accepted, rules)
	wantAddresses(t, theirs, rules, accepted)

	half := &world{networks: ours}
	half.remove(t, h)
	if left := linesWith(must(h.Table())(t), "set containers_ipv4: element", "set containers_ipv6: element"); left != nil {
		t.Errorf("after the last DEL with nftables:\n%s", strings.Join(left, "\n"))
	}
	half.networks = theirs
	half.call(t, h.Firewall, "CHECK")
	half.remove(t, h)
	same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	if left := records(t, dataDir); left != nil {
		t.Errorf("records left: %q", left)
	}
}

// wantIsolation wants a bridge isolated by both backends, or by neither.
func wantIsolation(t *testing.T, e *end, rules, table string) {
	t.Helper()
	want := e.isolates()
	byRules := strings.Contains(rules, " -o "+e.network.Bridge+" ") && strings.Contains(rules, "-A CNI-ISOLATION-STAGE-1 -i "+e.network.Bridge+" ")
	byTable := strings.Contains(table, fmt.Sprintf("set isolated_bridges: element %q\n", e.network.Bridge))
	if byRules != want || byTable != want {
		t.Errorf("%s is isolated with iptables: %t, with nftables: %t\n%s%s", e.name(), byRules, byTable, rules, table)
	}
}

// wantAddresses wants the addresses of containers in the text of the one backend,
// and not in that of the other.
func wantAddresses(t *testing.T, ends []*end, in, notIn string) {
	t.Helper()
	for _, e := range ends {
		for _, address := range []string{e.server.IPv4 + "/32", e.server.IPv6 + "/128", e.peer.IPv4 + "/32", e.peer.IPv6 + "/128"} {
			if !strings.Contains(in, address) || strings.Contains(notIn, address) {
				t.Errorf("%s of %s in\n%s\nor not in\n%s", address, e.name(), notIn, in)
			}
		}
	}
}

// TestSwitch changes the backend of networks, and back, with containers running
// and packets on their way between bridges that are isolated.
func TestSwitch(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		w.checkAllOpen(t)
		all := currents(across, w.networks[0], w.networks[1])
		controlled(t, all)
		w.protect(t, h)
		golden := state(t, h)

		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		flowing := make(chan []host.Stream)
		go func() { flowing <- flow(ctx, t, all) }()
		w.moveTo(t, h, host.NFTables)
		same(t, before, remaining(t, h, withoutTable(state(t, h))), "iptables, after the last has moved")
		w.moveTo(t, h, "iptables")
		same(t, canonical(golden), canonical(withoutAdminInTable(state(t, h))), "all moved back")
		stop()
		judge(t, all, <-flowing)

		// And deleted halfway.
		w.networks[0].network.Backend = host.NFTables
		must(w.networks[0].server.Call(h.Firewall, "ADD"))(t)
		w.check(t, usual, "halfway")
		w.remove(t, h)
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// moveTo adds every container again, with another backend.
func (w *world) moveTo(t *testing.T, h *host.Host, backend string) {
	t.Helper()
	for _, e := range w.networks {
		e.network.Backend = backend
		for _, c := range []*host.Container{e.server, e.peer} {
			must(c.Call(h.Firewall, "ADD"))(t)
			must(c.Call(h.Firewall, "CHECK"))(t)
			if v := look(t, h.Firewall); !v.InForce {
				t.Errorf("%s moved to %s: %s", c.Name, backend, v.Problem)
			}
			w.check(t, usual, c.Name+" moved to "+backend)
		}
	}
	w.call(t, h.Firewall, "CHECK")
}

// withoutTable returns a state without the plugin's nftables table.
func withoutTable(text string) string {
	rules, table, _ := strings.Cut(text, "# nftables\n")
	_, flags, found := strings.Cut(table, "# port ")
	if found {
		return rules + "# port " + flags
	}
	return rules
}
