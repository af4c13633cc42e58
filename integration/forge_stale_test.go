// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// caller sends datagrams to a published port all the time, from one socket: to the kernel
// they are one connection in each family.
type caller struct {
	name string
	sent atomic.Int64
	stop func()
}

func newCaller(t *testing.T, from *host.Container, port int) *caller {
	t.Helper()
	c := &caller{name: from.Name}
	conn := must(from.Socket(0))(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for every := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-every.C:
				c.call(conn, port)
			}
		}
	}()
	c.stop = func() {
		close(stop)
		<-stopped
		_ = conn.Close()
	}
	return c
}

func (c *caller) call(conn net.PacketConn, port int) {
	for family, address := range map[family]string{"IPv4": host.HostIPv4, "IPv6": host.HostIPv6} {
		text := fmt.Sprintf("%s from %s", family, c.name)
		_, _ = conn.WriteTo([]byte(text), &net.UDPAddr{IP: net.ParseIP(address), Port: port})
	}
	c.sent.Add(1)
}

// heard returns the different texts that arrive at a container while each caller calls two
// hundred times, or until there are as many as wanted.
func heard(t *testing.T, c *host.Container, callers []*caller, wanted int) []string {
	t.Helper()
	conn := must(c.Socket(containerPort))(t)
	defer func() { _ = conn.Close() }()
	enough := map[*caller]int64{}
	for _, c := range callers {
		enough[c] = c.sent.Load() + 200
	}
	isMissing := func(c *caller) bool { return c.sent.Load() < enough[c] }
	var texts []string
	for len(texts) < wanted && slices.ContainsFunc(callers, isMissing) {
		ok(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		buffer := make([]byte, 100)
		n, _, err := conn.ReadFrom(buffer)
		if text := string(buffer[:n]); err == nil && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// successions are the policies of a network when a container is deleted, and when the next
// one gets its address. What leads to an open network needs no connection of another.
var successions = []struct{ former, next string }{
	{"same-bridge", "same-bridge"}, {"isolated", "isolated"}, {"open", "same-bridge"}, {"open", "isolated"},
	{"strict", "strict"}, {"same-bridge", "strict"},
}

// TestStaleConnections deletes containers that somebody sends datagrams to, by a published
// port. The next container with that address publishes nothing, and gets none of them.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		outside := must(h.Outside())(t)
		other := must(h.Add(host.Dual("other", "other0", 9, place{"same-bridge", "allow"}.firewall()), "other", nil))(t)
		for i, policies := range successions {
			s := succession{h: h, port: 8000 + i, from: []*host.Container{outside, other}}
			s.n = host.Dual(fmt.Sprintf("net%d", i), fmt.Sprintf("br%d", i), i+1, nil)
			if i == 0 {
				everybody := []string{"IPv4 from other", "IPv4 from outside", "IPv6 from other", "IPv6 from outside"}
				if got := s.of(t, "", ""); !slices.Equal(got, everybody) {
					t.Fatalf("without the plugin the next container gets %q, want %q", got, everybody)
				}
			}
			if got := s.of(t, policies.former, policies.next); got != nil {
				t.Errorf("%s: the next container gets %q", policies, got)
			}
		}
	})
}

// succession is two containers of a network, one after the other, with one address.
type succession struct {
	h    *host.Host
	n    *host.Network
	port int // of the host
	from []*host.Container
}

// of returns what arrives at the second of two containers, when connections were redirected
// to the first. Without a policy, the plugin is not called.
func (s *succession) of(t *testing.T, former, next string) []string {
	t.Helper()
	var callers []*caller
	for _, from := range s.from {
		c := newCaller(t, from, s.port)
		defer c.stop()
		callers = append(callers, c)
	}
	first := s.add(t, "former", former, map[int]int{s.port: containerPort})
	if got := heard(t, first, callers, 4); len(got) != 4 {
		t.Fatalf("at the published port of %s arrives only %q", first.Name, got)
	}
	s.del(t, first)
	second := s.add(t, "next", next, nil)
	defer s.del(t, second)
	if second.IPv4 != first.IPv4 || second.IPv6 != first.IPv6 {
		t.Fatalf("%s has %s and %s, not %s and %s", second.Name, second.IPv4, second.IPv6, first.IPv4, first.IPv6)
	}
	return heard(t, second, callers, 4)
}

func (s *succession) add(t *testing.T, name, policy string, published map[int]int) *host.Container {
	t.Helper()
	s.n.Plain, s.n.Firewall = policy == "", place{policy, "allow"}.firewall()
	c := must(s.h.Add(s.n, fmt.Sprintf("%s-%s%s", name, s.n.Name, policy), published))(t)
	// Or the host knows for half a minute where the address was.
	shell(t, s.h, "ip neigh flush dev "+s.n.Bridge)
	return c
}

// del has host-local give the same addresses again.
func (s *succession) del(t *testing.T, c *host.Container) {
	t.Helper()
	ok(t, c.Del())
	ok(t, os.RemoveAll("/run/host-local/"+s.n.Name))
}
