// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// commonPlaces has a network of every policy that upstream's plugin has, too, with every
// answer to publishedPorts; everyPlace has the others as well. Isolated-strict is both
// isolated and strict: see TestIsolatedStrict.
var (
	commonPlaces = []place{
		{"same-bridge", "allow"}, {"same-bridge", "deny"},
		{"isolated", "allow"}, {"isolated", "deny"},
		{"open", "allow"}, {"open", "deny"},
	}
	everyPlace = append(commonPlaces[:len(commonPlaces):len(commonPlaces)], place{"strict", "allow"}, place{"strict", "deny"})
)

// TestVerdicts probes every way to every kind of network, from everywhere, on a
// host of each kind.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{
		{forward: "ACCEPT", filtered: filtered{"IPv4": true, "IPv6": true}},
		{forward: "DROP", filtered: filtered{"IPv4": true, "IPv6": true}},
		{forward: "ACCEPT", filtered: filtered{}},
		{forward: "DROP", filtered: filtered{}},
		{forward: "ACCEPT", filtered: filtered{"IPv4": true}},
		{forward: "DROP", filtered: filtered{"IPv6": true}},
	} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			onEachBackend(t, func(t *testing.T, h *host.Host) { testVerdicts(t, h, k) })
		})
	}
}

// TestIsolatedStrict probes a network that is isolated and strict, and what is around it.
func TestIsolatedStrict(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated-strict", "allow"}, place{"isolated-strict", "deny"}, place{"open", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		w.check(t, usual, "with the plugin")
		w.checkExplained(t, "with the plugin", func(p probe) host.Verdict { return w.expected(p, usual) })
		w.call(t, h.Firewall, "CHECK")
	})
}

func testVerdicts(t *testing.T, h *host.Host, k kind) {
	k.setUp(t, h)
	w := newWorld(t, h, everyPlace...)
	w.checkAllOpen(t)
	w.protect(t, h)
	k.setForwardPolicy(t, h)
	w.check(t, k, "with the plugin")
	w.checkExplained(t, "with the plugin", func(p probe) host.Verdict { return w.expected(p, k) })
}

// kind is what hosts differ in.
type kind struct {
	forward  string // policy of the chain FORWARD
	filtered filtered
}

// filtered says in which families br_netfilter hands the frames between two
// ports of a bridge to the rules.
type filtered map[family]bool

// usual is a host as most are.
var usual = kind{forward: "ACCEPT", filtered: filtered{"IPv4": true, "IPv6": true}}

func (k kind) String() string {
	return fmt.Sprintf("forward=%s,bridge-nf-call=%d,%d", k.forward, bit(k.filtered["IPv4"]), bit(k.filtered["IPv6"]))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (k kind) setUp(t *testing.T, h *host.Host) {
	t.Helper()
	ok(t, h.Sysctl(fmt.Sprintf("net/bridge/bridge-nf-call-iptables=%d", bit(k.filtered["IPv4"]))))
	ok(t, h.Sysctl(fmt.Sprintf("net/bridge/bridge-nf-call-ip6tables=%d", bit(k.filtered["IPv6"]))))
}

func (k kind) setForwardPolicy(t *testing.T, h *host.Host) {
	t.Helper()
	shell(t, h, "iptables -P FORWARD "+k.forward+"; ip6tables -P FORWARD "+k.forward)
}

// check ends the test unless every way is as promised.
func (w *world) check(t *testing.T, k kind, when string) {
	t.Helper()
	w.compare(t, when, func(p probe) host.Verdict { return w.expected(p, k) })
}

// expected is the promise on the world's host.
func (w *world) expected(p probe, k kind) host.Verdict {
	if k.forward == "DROP" && w.backend.HasTable() {
		return shut(p, k)
	}
	return expected(p, k)
}

// shut is what becomes of a connection where another table drops all that is
// forwarded: what one table accepts goes on to the next, and nothing opens. Left
// is what the rules never see.
func shut(p probe, k kind) host.Verdict {
	switched := p.from == p.to && p.path == direct && !k.filtered[p.family]
	return openIf(p.from == theHost || switched && !p.target.separates())
}

// checkAllOpen is the control that every probe needs: what is to be blocked is
// open without the plugin.
func (w *world) checkAllOpen(t *testing.T) {
	t.Helper()
	w.compare(t, "without the plugin", func(probe) host.Verdict { return host.Open })
}

func (w *world) compare(t *testing.T, when string, wanted func(probe) host.Verdict) {
	t.Helper()
	probes := w.probes()
	want := map[string]string{}
	for _, p := range probes {
		want[p.String()] = string(wanted(p))
	}
	if len(want) != len(probes) {
		t.Fatalf("%d probes have only %d names", len(probes), len(want))
	}
	if diff := difference(probes, want); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", when, diff)
	}
}

// expected is the promise: what becomes of a connection.
func expected(p probe, k kind) host.Verdict {
	allowed := p.path == published && p.target.PublishedPorts == "allow"
	switch {
	case p.from == theHost:
		return host.Open // nothing is forwarded
	case p.from == theOutside && p.target.isStrict():
		return openIf(allowed)
	case p.from == theOutside:
		// No other bridge isolates from the outside. The operator may have closed FORWARD
		// to what no rule accepts; accepted is what comes from a container, what
		// answers it, and published ports where the network allows them.
		return openIf(k.forward == "ACCEPT" || allowed)
	case p.from == p.to && !p.target.separates():
		return host.Open
	case p.from == p.to && allowed && k.switches(p.family):
		return host.Blocked
	case p.from == p.to:
		return openIf(allowed)
	case p.source.isolates() && p.target.isolates(), p.target.isStrict():
		return openIf(allowed)
	}
	// One of the two bridges is open, so it neither keeps anybody out nor anybody
	// in, the one it leads to is not strict, and FORWARD's policy does not matter to
	// what comes from a container.
	return host.Open
}

// switches reports whether a redirected frame is stopped by the flag of the
// ports of an isolated bridge. The other family, which is not filtered, needs
// that flag, it has no family, and in this one br_netfilter lets the bridge
// switch the frame that the host would else route. Blocked is the safe side.
func (k kind) switches(f family) bool {
	return k.filtered[f] && k.filtered["IPv4"] != k.filtered["IPv6"]
}

func openIf(yes bool) host.Verdict {
	if yes {
		return host.Open
	}
	return host.Blocked
}
