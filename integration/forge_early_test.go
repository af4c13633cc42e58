// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestForgedBefore has an attacker forge connections of a container that is about to be
// added as the first one of its network: nothing guards its addresses yet. Once it is
// isolated, the attacker's packets are no replies.
func TestForgedBefore(t *testing.T) {
	t.Parallel()
	for _, b := range host.Backends {
		inParts(t, b, map[string]part{
			"same-bridge": func(t *testing.T, h *host.Host) { forgeBefore(t, h, "same-bridge") },
			"strict":      func(t *testing.T, h *host.Host) { forgeBefore(t, h, "strict") },
		})
	}
}

func forgeBefore(t *testing.T, h *host.Host, policy string) {
	t.Helper()
	if h.Backend.Key == host.FirewalldZones {
		letForgedIn(t, h)
	}
	f := newForgers(t, h, policy)
	for _, family := range []string{"IPv4", "IPv6"} {
		if got := f.reply(t, f.attacker, f.victim, family); got != host.Open {
			t.Fatalf("without the plugin, %s: %s", family, got)
		}
	}
	for _, c := range f.containers {
		if c != f.victim {
			must(c.Call(h.Firewall, "ADD"))(t)
		}
	}
	port := f.nextPort()
	for family, address := range map[string]string{"IPv4": host.HostIPv4, "IPv6": host.HostIPv6} {
		ok(t, f.datagram(t, f.attacker, at(addressOf(f.victim, family), port), at(address, publishedPort), "knock"))
	}
	must(f.victim.Call(h.Firewall, "ADD"))(t)
	for _, family := range []string{"IPv4", "IPv6"} {
		got := must(f.victim.Arrives(host.Patience, func(text string) error {
			return f.datagram(t, f.attacker, at(addressOf(f.attacker, family), attackerPort), at(addressOf(f.victim, family), port), text)
		}))(t)
		if got != host.Blocked {
			t.Errorf("%s: %s", family, got)
		}
	}
}
