// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// The containers of every test: two on one bridge, one on another. Each answers
// connections to a port with its name, and the host publishes that of server.
const (
	server = "server"
	peer   = "peer"
	other  = "other"

	theHost    = "host"
	theOutside = "outside"
)

const containerPort, hostPort = 80, 8080

// networks are those of the containers, of all tests.
var networks = map[string]string{
	server: "blue", peer: "blue", other: "red",
	// nerdctl's, which has more of them.
	both: "blue", first: "green", second: "green", member: "secret", comember: "secret",
	"c1-web-1": "c1", "c1-client-1": "c1", "c2-web-1": "c2",
}

// world is who may reach whom, by name.
type world map[string]*host.Container

// newWorld returns the host and the outside, which listens.
func newWorld(t *testing.T, h *host.Host) world {
	t.Helper()
	w := world{theHost: must(h.Self())(t), theOutside: must(h.Outside())(t)}
	ok(t, w[theOutside].Serve(containerPort))
	return w
}

// attach takes a container of an engine in, in place of one of that name.
func (w world) attach(t *testing.T, h *host.Host, name, netns string) {
	t.Helper()
	w.detach(t, name)
	ok(t, w.tryAttach(h, name, netns))
}

// tryAttach fails as long as the container is not attached to its network.
func (w world) tryAttach(h *host.Host, name, netns string) error {
	c, err := h.Attach(name, netns)
	if err != nil {
		return err
	}
	if c.IPv4 == "" {
		return errors.Join(fmt.Errorf("%s has no address", name), c.Detach())
	}
	w[name] = c
	return nil
}

func (w world) detach(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if c := w[name]; c != nil {
			ok(t, c.Detach())
			delete(w, name)
		}
	}
}

// way is one from a container, the host or the outside to another.
type way struct {
	from, to  string
	published bool // at the host's address and the published port
	ipv6, udp bool
	port      int // where it is not the usual one
}

func (w way) String() string {
	text := w.from + " to "
	if w.published {
		text += "the published port of "
	}
	text += w.to
	if w.port != 0 {
		text += fmt.Sprintf(", port %d", w.port)
	}
	if w.ipv6 {
		text += ", IPv6"
	}
	if w.udp {
		text += ", UDP"
	}
	return text
}

var ways = []way{
	{from: peer, to: server},
	{from: server, to: peer},
	{from: other, to: server},
	{from: server, to: other},
	{from: theHost, to: server},
	{from: theHost, to: other},
	{from: server, to: theOutside},
	{from: other, to: theOutside},
	{from: peer, to: server, published: true},
	{from: other, to: server, published: true},
	{from: theHost, to: server, published: true},
	{from: theOutside, to: server, published: true},
}

// acrossBridges are the ways that isolation is about.
var acrossBridges = []way{{from: other, to: server}, {from: server, to: other}}

// policy says what is blocked.
type policy func(way) bool

func open(way) bool { return false }

func sameBridge(w way) bool {
	from, to := networks[w.from], networks[w.to]
	return !w.published && from != "" && to != "" && from != to
}

func isolated(w way) bool {
	return !w.published && networks[w.from] != "" && networks[w.to] != ""
}

// check ends the test if somebody reaches whom he should not, or the other way
// round. What is to be open is tried first, for as long as a server may need to
// start: that it answers there is what makes the silence elsewhere tell.
func (w world) check(t *testing.T, blocked policy, what string) {
	t.Helper()
	w.checkThe(t, ways, blocked, what)
}

// checkThe does so for some of the ways.
func (w world) checkThe(t *testing.T, ways []way, blocked policy, what string) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	var reached, closed []way
	for _, way := range ways {
		if blocked(way) {
			want[way.String()] = string(host.Blocked)
			closed = append(closed, way)
		} else {
			want[way.String()] = "open, " + way.to
			reached = append(reached, way)
		}
	}
	w.probe(reached, got, 2*time.Minute) // on a busy machine; else a second will do
	w.probe(closed, got, 0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// probe tries ways, all at once, each until it is open or the time is over.
func (w world) probe(ways []way, got map[string]string, time time.Duration) {
	var wg sync.WaitGroup
	var lock sync.Mutex
	for _, way := range ways {
		wg.Go(func() {
			verdict := w.until(way, time)
			lock.Lock()
			defer lock.Unlock()
			got[way.String()] = verdict
		})
	}
	wg.Wait()
}

func (w world) until(way way, patience time.Duration) string {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		verdict, name, err := w.try(way)
		switch {
		case err == nil && verdict == host.Open:
			return "open, " + name
		case time.Now().Before(deadline):
		case err != nil:
			return err.Error()
		default:
			return string(verdict)
		}
	}
}

// try returns who answers. A datagram says where it arrived, without an answer.
func (w world) try(way way) (host.Verdict, string, error) {
	address, port := w.target(way)
	if way.udp {
		verdict, err := w[way.from].Send(w[way.to], address, port, host.Patience)
		return verdict, way.to, err
	}
	return w[way.from].Connect(address, port, host.Patience)
}

func (w world) target(way way) (address string, port int) {
	to, port := w[way.to], containerPort
	if way.published {
		to, port = w[theHost], hostPort
	}
	if way.port != 0 {
		port = way.port
	}
	if way.ipv6 {
		return to.IPv6, port
	}
	return to.IPv4, port
}
