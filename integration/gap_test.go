// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// Rounds of ADD and DEL in each backend, and how many of them a port lives.
const gapRounds, gapRoundsOfPort = 250, 25

// TestNoGap attaches and detaches a container that goes on running, as at a network
// disconnect: its port outlives the DEL of its bridge's isolation. Not one datagram from
// another isolated bridge passes, from the first ADD to the end of the port.
func TestNoGap(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		ok(t, h.Sysctl("net/ipv4/ip_forward=1"))
		ok(t, h.Sysctl("net/ipv6/conf/all/forwarding=1"))
		network := func(name, bridge string, n int) *host.Network {
			return host.Dual(name, bridge, n, map[string]any{"ingressPolicy": "same-bridge"})
		}
		red := network("red", "red0", 1)
		attacker := plain(t, h, red, "attacker")
		must(attacker.Call(h.Firewall, "ADD"))(t)
		blue := network("blue", "blue0", 2)
		victim := plain(t, h, blue, "victim")
		ok(t, victim.Serve(containerPort))
		for _, address := range []string{victim.IPv4, victim.IPv6} {
			if got := must(attacker.Send(victim, address, containerPort, host.Patience))(t); got != host.Open {
				t.Fatalf("before the first ADD: %s is %s", address, got)
			}
		}
		for done := 0; done < gapRounds; done += gapRoundsOfPort {
			must(victim.Call(h.Firewall, "ADD"))(t)
			arrived := 0
			finish := stream(t, attacker, victim, &arrived)
			for range gapRoundsOfPort {
				must(victim.Call(h.Firewall, "DEL"))(t)
				must(victim.Call(h.Firewall, "ADD"))(t)
			}
			must(victim.Call(h.Firewall, "CHECK"))(t)
			must(victim.Call(h.Firewall, "DEL"))(t)
			if linesWith(state(t, h), "blue0") != nil && done == 0 {
				t.Errorf("the isolation is left:\n%s", state(t, h))
			}
			finish()
			if arrived > 0 {
				t.Fatalf("round %d: %d datagrams arrived", done, arrived)
			}
			blue.Plain = true // the bridge plugin's part, which comes late
			ok(t, victim.Del())
			ok(t, victim.Add())
		}
		if got := must(attacker.Send(victim, victim.IPv4, containerPort, host.Patience))(t); got != host.Open {
			t.Errorf("a new port, without the plugin, is %s", got)
		}
		must(attacker.Call(h.Firewall, "DEL"))(t)
		same(t, before, operators(h, state(t, h)), "in the end")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// stream sends datagrams to a container in both families until finish is called, which
// adds up those that arrived.
func stream(t *testing.T, from, to *host.Container, arrived *int) (finish func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	results := make(chan host.Stream, 2)
	for _, address := range []string{to.IPv4, to.IPv6} {
		go func() {
			s, err := from.Datagrams(ctx, time.Millisecond, to, address, containerPort)
			if err != nil {
				t.Error(err)
			}
			results <- s
		}()
	}
	return func() {
		stop()
		for range 2 {
			s := <-results
			*arrived += s.Arrived
			if s.Sent < host.Fewest {
				t.Errorf("only %d datagrams were sent", s.Sent)
			}
		}
	}
}
