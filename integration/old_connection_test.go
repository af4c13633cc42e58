// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestOldConnections has connections from and to the outside when a network becomes strict.
// What the container opened goes on. What led to it ends, also if the container is the next
// one to send: to connection tracking, a packet of a connection that it does not know is the
// first one.
func TestOldConnections(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		outside := must(h.Outside())(t)
		n := host.Dual("net", "br1", 1, place{"open", "allow"}.firewall())
		c := must(h.Add(n, "container", nil))(t)
		if h.Backend.Key == host.FirewalldZones {
			shell(t, h, "firewall-cmd --zone=trusted --add-interface="+host.Uplink)
		}
		type connection struct{ inside, outside net.Conn }
		var inward, outward []connection
		for i, addresses := range [][2]string{{c.IPv4, host.OutsideIPv4}, {c.IPv6, host.OutsideIPv6}} {
			client, server, err := outside.Pair(c, addresses[0], containerPort+i)
			ok(t, err)
			inward = append(inward, connection{server, client})
			client, server, err = c.Pair(outside, addresses[1], containerPort+i)
			ok(t, err)
			outward = append(outward, connection{client, server})
		}
		arrives := func(from, to net.Conn, patience time.Duration) bool {
			t.Helper()
			must(from.Write([]byte("x")))(t)
			ok(t, to.SetReadDeadline(time.Now().Add(patience)))
			_, err := to.Read(make([]byte, 1))
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return err == nil
		}
		for _, both := range append(inward, outward...) {
			if !arrives(both.outside, both.inside, 10*host.Patience) || !arrives(both.inside, both.outside, 10*host.Patience) {
				t.Fatal("an open network is closed")
			}
		}
		n.Firewall = place{"strict", "allow"}.firewall()
		must(c.Call(h.Firewall, "ADD"))(t)
		for _, both := range inward {
			must(both.inside.Write([]byte("x")))(t) // let out or not
			if arrives(both.outside, both.inside, host.Patience) {
				t.Errorf("from %s to %s: it goes on", both.outside.LocalAddr(), both.inside.LocalAddr())
			}
		}
		for _, both := range outward {
			if !arrives(both.inside, both.outside, 10*host.Patience) || !arrives(both.outside, both.inside, 10*host.Patience) {
				t.Errorf("from %s to %s: it has ended", both.inside.LocalAddr(), both.outside.LocalAddr())
			}
		}
	})
}
