// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// outlivingRounds are those of one backend.
const outlivingRounds = 40

// gap is a bridge whose containers come and go, and an attacker on another one.
type gap struct {
	h             *host.Host
	network       *host.Network
	first, second *target
	never         *target // is deleted, and its port never ends
	attacker      *host.Container
	own           net.PacketConn // of the host
}

func newGap(t *testing.T, h *host.Host) *gap {
	t.Helper()
	g := &gap{h: h, network: host.Dual("blue", "blue0", 2, map[string]any{})}
	g.own = must(must(h.Self())(t).Socket(0))(t)
	g.first = newTarget(t, h, g.network, "first")
	g.second = newTarget(t, h, g.network, "second")
	g.never = newTarget(t, h, g.network, "never")
	red := host.Dual("red", "red0", 1, place{"same-bridge", "allow"}.firewall())
	g.attacker = plain(t, h, red, "attacker")
	return g
}

func (g *gap) targets() []*target { return []*target{g.first, g.second, g.never} }

// stream sends to all targets until the test ends.
func (g *gap) stream(t *testing.T) {
	t.Helper()
	conn := must(g.attacker.Socket(0))(t)
	stop := make(chan struct{})
	var done sync.WaitGroup
	for _, v := range g.targets() {
		done.Go(func() {
			for every := time.NewTicker(2 * time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-every.C:
					v.send(conn)
				}
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		done.Wait()
		_ = conn.Close()
	})
}

// add has the plugin attach targets, which are closed from then on.
func (g *gap) add(t *testing.T, all ...*target) {
	t.Helper()
	for _, v := range all {
		must(v.Call(g.h.Firewall, "ADD"))(t)
		v.setClosed(true)
	}
}

// awaitBack waits until targets whose ports were cut off are back: the host reaches them.
// That takes the kernel a second, in which packets that waited for a neighbor would come.
func (g *gap) awaitBack(t *testing.T, all ...*target) {
	t.Helper()
	for _, v := range all {
		v.awaitHost(t, g.own)
	}
}

func (g *gap) del(t *testing.T, all ...*target) {
	t.Helper()
	for _, v := range all {
		must(v.Call(g.h.Firewall, "DEL"))(t)
	}
}

// round adds and deletes targets, in one of the ways of runtimes. Their ports go on for
// a while.
func (g *gap) round(t *testing.T, i int) {
	t.Helper()
	g.network.Firewall = place{[]string{"same-bridge", "isolated"}[i/8%2], "allow"}.firewall()
	switch i % 8 {
	case 3: // the second is left alone: the first's port outlives its DEL by all of that
		g.add(t, g.first, g.second)
		g.awaitBack(t, g.first, g.second)
		g.del(t, g.first, g.second)
	case 7: // the runtime ends the port, and makes another one
		g.add(t, g.first)
		g.awaitBack(t, g.first)
		g.del(t, g.first)
		time.Sleep(time.Duration(i%20) * time.Millisecond)
		g.first.renew(t, g.h, g.network)
		return
	default: // the same port again, as after "network disconnect" that got no further
		g.add(t, g.first)
		g.del(t, g.first)
	}
	time.Sleep(time.Duration(i%5) * time.Millisecond)
}

// TestPortsThatOutlive streams datagrams from another isolated bridge to several containers
// of one bridge, whose ports outlive their DELs: for a while, for the next ADD, for the DEL
// of another container, for ever. None arrives from the first ADD to the end of the port.
func TestPortsThatOutlive(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		g := newGap(t, h)
		g.stream(t)
		for _, v := range g.targets() {
			v.awaitOpen(t, "without the plugin")
		}
		must(g.attacker.Call(h.Firewall, "ADD"))(t)
		g.network.Firewall = place{"same-bridge", "allow"}.firewall()
		g.add(t, g.never)
		g.del(t, g.never)
		for i := range outlivingRounds {
			g.round(t, i)
			g.expectNone(t, i)
		}
		g.end(t)
		same(t, before, remaining(t, h, state(t, h)), "in the end")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// expectNone ends the test at the first round that let something through.
func (g *gap) expectNone(t *testing.T, round int) {
	t.Helper()
	for _, v := range g.targets() {
		for family := range v.leaked {
			if n := v.leaked[family].Load(); n > 0 {
				t.Fatalf("round %d: %d of %d datagrams of %s reached %s", round, n, v.sent.Load(), families[family], v.Name)
			}
		}
	}
}

// end ends everything, and wants the streams to have been ones.
func (g *gap) end(t *testing.T) {
	t.Helper()
	must(g.attacker.Call(g.h.Firewall, "DEL"))(t)
	time.Sleep(3 * time.Second) // packets that wait for a neighbor wait no longer
	g.expectNone(t, outlivingRounds)
	for _, v := range g.targets() {
		if sent := v.sent.Load(); sent < outlivingRounds {
			t.Errorf("to %s only %d datagrams were sent in each family", v.Name, sent)
		}
		v.endPort(t, g.h)
	}
}
