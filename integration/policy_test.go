// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// Hosts whose FORWARD is closed, and whose bridges hand nothing and one family
// to the rules.
var (
	closed     = kind{forward: "DROP", filtered: usual.filtered}
	unfiltered = kind{forward: "ACCEPT", filtered: filtered{}}
	onlyIPv4   = kind{forward: "ACCEPT", filtered: filtered{"IPv4": true}}
)

// step is a configuration that a network comes to have.
type step struct {
	place
	kind
	meanwhile string // what somebody does to the rules before the next ADD
	stays     bool   // all that the kernel holds is right as it is
}

// TestPolicyChange changes a network's configuration and adds its containers
// again, as "podman network reload" does.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	walks := map[string][]step{
		// Every policy follows every other one, and either answer the other.
		"rules": {
			{place: place{"open", "allow"}, kind: closed},
			{place: place{"same-bridge", "allow"}, kind: closed},
			{place: place{"isolated", "allow"}, kind: closed},
			{place: place{"same-bridge", "deny"}, kind: closed},
			{place: place{"isolated", "deny"}, kind: closed},
			{place: place{"open", "deny"}, kind: closed},
			{place: place{"isolated", "allow"}, kind: closed},
			{place: place{"open", "allow"}, kind: closed},
			{place: place{"same-bridge", "allow"}, kind: closed},
		},
		// The flag of the ports comes and goes with the policy and the sysctls.
		"flag": {
			{place: place{"isolated", "allow"}, kind: unfiltered},
			{place: place{"same-bridge", "allow"}, kind: unfiltered},
			{place: place{"isolated", "deny"}, kind: unfiltered},
			{place: place{"open", "deny"}, kind: unfiltered},
			{place: place{"isolated", "allow"}, kind: usual},
			{place: place{"isolated", "allow"}, kind: unfiltered},
			{place: place{"isolated", "allow"}, kind: onlyIPv4, stays: true},
			{place: place{"isolated", "allow"}, kind: usual},
			// A bridge may have its frames filtered where others do not.
			{place: place{"isolated", "deny"}, kind: usual, meanwhile: `
				for i in iptables ip6tables; do echo 0 > /proc/sys/net/bridge/bridge-nf-call-$i; done
				ip link set br1 type bridge nf_call_iptables 1 nf_call_ip6tables 1`},
		},
		"strict": {
			{place: place{"strict", "allow"}, kind: closed},
			{place: place{"isolated", "allow"}, kind: closed},
			{place: place{"strict", "deny"}, kind: usual},
			{place: place{"same-bridge", "allow"}, kind: usual},
			{place: place{"strict", "allow"}, kind: usual},
			{place: place{"isolated-strict", "allow"}, kind: unfiltered},
			{place: place{"strict", "allow"}, kind: unfiltered},
			{place: place{"open", "deny"}, kind: usual},
			{place: place{"strict", "deny"}, kind: usual},
		},
		// So it does if no rule tells of the former policy any more.
		"flag without rules": {
			{place: place{"isolated", "allow"}, kind: unfiltered},
			{place: place{"same-bridge", "allow"}, kind: unfiltered, meanwhile: "flush"},
			{place: place{"isolated", "allow"}, kind: unfiltered},
			{place: place{"open", "allow"}, kind: unfiltered, meanwhile: "wipe"},
		},
	}
	for name, walk := range walks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachBackend(t, func(t *testing.T, h *host.Host) { testPolicyChange(t, h, walk) })
		})
	}
}

func testPolicyChange(t *testing.T, h *host.Host, walk []step) {
	w := newWorld(t, h, place{"open", "deny"}, place{"same-bridge", "allow"})
	w.networks[1].alias = "another"
	w.checkAllOpen(t)
	w.protect(t, h)
	changing := w.networks[0]
	own := func() []string { return linesWith(canonical(tables(t, h)), "br1") }
	seen := map[place][]string{changing.place: own()}
	for i, s := range walk {
		if h.Backend.HasTable() {
			s.forward = "ACCEPT" // nothing of a change could be seen behind a table that drops all
		}
		when := fmt.Sprintf("step %d: %s on a host with %s", i, s.name(), s.kind)
		s.setUp(t, h)
		s.setForwardPolicy(t, h)
		shell(t, h, s.meanwhile)
		milder := isMilder(s.place, changing.place)
		changing.become(s.place)
		if !s.stays && !milder {
			complaint(t, changing.server, h.Firewall)
		}
		if milder { // as a runtime does, which would also make new ports: these keep what is stricter
			must(changing.server.Call(h.Firewall, "DEL"))(t)
			must(changing.peer.Call(h.Firewall, "DEL"))(t)
		}
		w.protect(t, h)
		must(changing.server.Call(h.Firewall, "CHECK"))(t)

		rules := own()
		if before, found := seen[s.place]; found {
			if diff := gocmp.Diff(before, rules); diff != "" {
				t.Errorf("%s: rules (-first time +now):\n%s", when, diff)
			}
		}
		seen[s.place] = rules
		checkFlags(t, h, when, "br1", s.place.separates() && s.kind.needsFlag())
		checkFlags(t, h, when, "br2", false)
		w.check(t, s.kind, when)
	}
}

// isMilder reports whether a place is milder than another one in anything.
func isMilder(now, before place) bool {
	return before.isolates() && !now.isolates() || before.separates() && !now.separates() ||
		before.isStrict() && !now.isStrict() ||
		now.PublishedPorts == "allow" && before.PublishedPorts == "deny"
}

// needsFlag reports whether there are frames between the ports of a bridge that
// no rule sees.
func (k kind) needsFlag() bool { return !k.filtered["IPv4"] || !k.filtered["IPv6"] }

func checkFlags(t *testing.T, h *host.Host, when, bridge string, want bool) {
	t.Helper()
	n := 0
	for _, p := range ports(t, h) {
		if p.Bridge != bridge {
			continue
		}
		if n++; p.Isolated != want {
			t.Errorf("%s: port %s of %s has the flag isolated %t", when, p.Name, bridge, p.Isolated)
		}
	}
	if n != 2 {
		t.Errorf("%s: %s has %d ports", when, bridge, n)
	}
}
