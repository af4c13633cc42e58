// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// families are those of what is counted.
var families = [2]family{"IPv4", "IPv6"}

// gapPort is what the victims listen on.
const gapPort = 5000

// target is a victim of a stream. It is closed from the end of its first ADD to the end
// of its port: what was sent meanwhile must never arrive, not even later.
type target struct {
	*host.Container
	port, hardware string // its port of the bridge, and its own end of it

	mu      sync.RWMutex // held for reading while a datagram is sent
	closed  bool
	sent    atomic.Int64    // in each family, while it was closed
	leaked  [2]atomic.Int64 // of these
	arrived [2]atomic.Int64 // of those that were sent while it was open
	byHost  [2]atomic.Int64
}

// newTarget makes a container that the plugin has not seen.
func newTarget(t *testing.T, h *host.Host, n *host.Network, name string) *target {
	t.Helper()
	before := map[string]bool{}
	for _, p := range ports(t, h) {
		before[p.Name] = true
	}
	v := &target{Container: plain(t, h, n, name)}
	for _, p := range ports(t, h) {
		if !before[p.Name] {
			v.port = p.Name
		}
	}
	v.hardware = must(v.Hardware("eth0"))(t).String()
	conn := must(v.Socket(gapPort))(t)
	t.Cleanup(func() { _ = conn.Close() })
	go v.hear(conn)
	return v
}

// hear counts what arrives. A datagram says its family, and what it was sent as.
func (v *target) hear(conn net.PacketConn) {
	buffer := make([]byte, 10)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		counts := map[string]*[2]atomic.Int64{"open": &v.arrived, "closed": &v.leaked, "host": &v.byHost}
		counts[string(buffer[1:n])][buffer[0]-'0'].Add(1)
	}
}

// send sends one datagram of the stream in each family.
func (v *target) send(from net.PacketConn) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !v.closed {
		v.write(from, "open")
		return
	}
	v.sent.Add(1)
	v.write(from, "closed")
}

// write does not mind errors, which come of ports that are down.
func (v *target) write(from net.PacketConn, text string) {
	for family, address := range []string{v.IPv4, v.IPv6} {
		to := &net.UDPAddr{IP: net.ParseIP(address), Port: gapPort}
		_, _ = from.WriteTo([]byte(strconv.Itoa(family)+text), to)
	}
}

func (v *target) setClosed(closed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = closed
}

// awaitOpen waits until datagrams of the stream arrive in both families, on the port as it
// is now.
func (v *target) awaitOpen(t *testing.T, when string) {
	t.Helper()
	v.await(t, &v.arrived, when, func() {})
}

// awaitHost has the host send to the target until that arrives in both families. Nothing
// of that is forwarded: it arrives whenever the port is up.
func (v *target) awaitHost(t *testing.T, from net.PacketConn) {
	t.Helper()
	v.await(t, &v.byHost, "from the host", func() { v.write(from, "host") })
}

func (v *target) await(t *testing.T, counts *[2]atomic.Int64, when string, try func()) {
	t.Helper()
	before := [2]int64{counts[0].Load(), counts[1].Load()}
	ok(t, host.Await(func() error {
		try()
		time.Sleep(time.Millisecond)
		for family := range before {
			if counts[family].Load() == before[family] {
				return fmt.Errorf("%s: no datagram of %s reaches %s", when, families[family], v.Name)
			}
		}
		return nil
	}))
}

// renew ends the port, as the bridge plugin's DEL does, and makes another one for the
// same container. Until the plugin's ADD it is open. The host asks for its neighbors anew,
// or it would do so once a second only.
func (v *target) renew(t *testing.T, h *host.Host, n *host.Network) {
	t.Helper()
	v.endPort(t, h)
	// What the host keeps for a neighbor that it looks for was sent to the port that is gone.
	shell(t, h, fmt.Sprintf(`
		ip neigh flush dev %[2]s
		ip link add %[1]s master %[2]s type veth peer name eth0 address %[3]s netns %[4]s
		ip link set %[1]s up
		ip -n %[4]s -batch - <<-end
			addr add %[5]s/24 dev eth0
			addr add %[6]s/64 dev eth0 nodad
			link set eth0 up
			route add default via %[7]s
			route add default via %[8]s
		end
		ip neigh flush dev %[2]s`,
		v.port, n.Bridge, v.hardware, v.Name, v.IPv4, v.IPv6, gatewayOf(v.IPv4), gatewayOf(v.IPv6)))
	v.awaitOpen(t, "on a new port")
}

// endPort ends the port. What was sent is on its way no longer: the kernel hands a
// datagram on before it returns to its sender, or drops it with the port.
func (v *target) endPort(t *testing.T, h *host.Host) {
	t.Helper()
	shell(t, h, "ip link del "+v.port)
	v.setClosed(false)
}

// gatewayOf returns the first address of a container's subnet, which host-local gives to
// the bridge.
func gatewayOf(address string) string {
	return address[:strings.LastIndexAny(address, ".:")+1] + "1"
}
