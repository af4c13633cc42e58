// SPDX-License-Identifier: Apache-2.0

//go:build kernels

package integration

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// flowtable has a table of connections of somebody else, and counts what passes by the
// hook forward. New kernels take a connection in at the ports of bridges.
const flowtable = `ports=$(bridge link show | sed 's/^[0-9]*: \([^@:]*\).*/, \1/')
nft -f - <<end
table inet mine {
	flowtable fast { hook ingress priority 0; devices = { red0, blue0 $(echo $ports) }; }
	chain seen { type filter hook forward priority -300; udp dport 7000 counter; }
	chain forward { type filter hook forward priority 0; ct state established flow add @fast; }
}
end`

// TestFlowtable has an established connection in a flowtable, where it passes no rule,
// when the policy of its networks becomes stricter.
func TestFlowtable(t *testing.T) {
	t.Parallel()
	onKernel(t, testFlowtable)
}

func testFlowtable(t *testing.T, h *host.Host) {
	usual.setUp(t, h)
	red := host.Dual("red", "red0", 1, place{"open", "allow"}.firewall())
	blue := host.Dual("blue", "blue0", 2, place{"open", "allow"}.firewall())
	one, two := serving(t, h, red, "one"), serving(t, h, blue, "two")
	for _, c := range []*host.Container{one, two} {
		must(c.Call(h.Firewall, "ADD"))(t)
	}
	shell(t, h, flowtable)
	between := among([2]*host.Container{one, two}, [2]*host.Container{two, one})
	expectVerdicts(t, "with open networks", between, host.Open)
	flow := newFlow(t, one, two)
	for range 3 {
		flow.want(t, "before it is established", true)
	}
	before := seen(t, h)
	for range 3 {
		flow.want(t, "in the flowtable", true)
	}
	if now := seen(t, h); now != before {
		t.Fatalf("the connection is in no flowtable: %s, and then %s", before, now)
	}

	red.Firewall["ingressPolicy"], blue.Firewall["ingressPolicy"] = "same-bridge", "same-bridge"
	for _, c := range []*host.Container{one, two} {
		o := verb(t, h, c, "ADD")
		if o.err != nil {
			t.Fatalf("ADD: %s%s", o.stdout, o.stderr)
		}
		if o.stderr != "" {
			t.Errorf("ADD said %s", o.stderr)
		}
	}
	flow.want(t, "isolated", false)
	expectVerdicts(t, "isolated", between, host.Blocked)
	v := look(t, h.Firewall)
	contains(t, "status", strings.Join(v.Warnings, "\n"), []string{"flowtable fast of table inet mine"})
	if !v.InForce {
		t.Errorf("status: %+v", v)
	}
	shell(t, h, "nft delete table inet mine")
	flow.want(t, "without the flowtable", false)
	if v := look(t, h.Firewall); !v.InForce || v.Warnings != nil {
		t.Errorf("status without the flowtable: %+v", v)
	}
}

// seen returns what the hook forward has counted.
func seen(t *testing.T, h *host.Host) string {
	t.Helper()
	listing := must(h.Run("nft", "list", "chain", "inet", "mine", "seen"))(t)
	i := slices.IndexFunc(strings.Split(listing, "\n"), func(line string) bool { return strings.Contains(line, "counter packets") })
	if i < 0 {
		t.Fatalf("no counter: %s", listing)
	}
	return strings.TrimSpace(strings.Split(listing, "\n")[i])
}

// udpFlow is one connection.
type udpFlow struct {
	one, two     net.PacketConn
	toOne, toTwo net.Addr
	number       *int
}

func newFlow(t *testing.T, one, two *host.Container) udpFlow {
	t.Helper()
	const port = 7000
	address := func(c *host.Container) net.Addr { return &net.UDPAddr{IP: net.ParseIP(c.IPv4), Port: port} }
	f := udpFlow{must(one.Socket(port))(t), must(two.Socket(port))(t), address(one), address(two), new(int)}
	t.Cleanup(func() { _, _ = f.one.Close(), f.two.Close() })
	return f
}

// want sends a datagram to two, and if it arrives one back, and wants both to arrive, or
// the first one not to.
func (f udpFlow) want(t *testing.T, when string, open bool) {
	t.Helper()
	arrived := f.send(t, f.one, f.two, f.toTwo, open) && f.send(t, f.two, f.one, f.toOne, open)
	if arrived != open {
		t.Errorf("%s: packets of the connection arrive: %t", when, arrived)
	}
}

// send reports whether a datagram arrives. It waits longer for one that should.
func (f udpFlow) send(t *testing.T, from, at net.PacketConn, to net.Addr, open bool) bool {
	t.Helper()
	*f.number++
	text := strconv.Itoa(*f.number)
	if _, err := from.WriteTo([]byte(text), to); err != nil {
		t.Fatal(err)
	}
	patience := 2 * time.Second
	if open {
		patience = time.Minute
	}
	ok(t, at.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 100)
	for {
		n, _, err := at.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		ok(t, err)
		if string(buffer[:n]) == text {
			return true
		}
	}
}
