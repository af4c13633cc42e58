// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestRounds adds 30 containers to two networks at once, and deletes them at
// once, from all of their network, so that each port outlives this plugin's DEL
// and several calls are a bridge's last at the same time.
func TestRounds(t *testing.T) {
	const rounds, many = 3, 30
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		bystanders := newWorld(t, h, place{"same-bridge", "deny"})
		bystanders.protect(t, h)
		before, kept := state(t, h), records(t, dataDir)
		networks := []*host.Network{
			host.Dual("net8", "br8", 8, place{"isolated", "allow"}.firewall()),
			host.Dual("net9", "br9", 9, place{"same-bridge", "allow"}.firewall()),
		}
		var containers []*host.Container
		for i := range many {
			c := plain(t, h, networks[i%2], fmt.Sprintf("container%d", i)) // one by one: the bridge plugin sets its bridge up
			ok(t, c.Del())
			containers = append(containers, c)
		}
		for _, n := range networks {
			n.Plain = false
		}
		stop := watch(t, check(h, bystanders.networks[0].server))
		for round := range rounds {
			atOnce(t, containers, (*host.Container).Add)
			added := state(t, h)
			if lines := twice(added); lines != nil {
				t.Fatalf("round %d: more than once:\n%s", round, strings.Join(lines, "\n"))
			}
			keeps(t, before, added, fmt.Sprintf("round %d: ADD", round))
			if all := len(records(t, dataDir)); all != len(kept)+many {
				t.Fatalf("round %d: %d records", round, all)
			}
			for _, c := range containers[:2] {
				ok(t, c.Check())
			}
			if v := look(t, h.Firewall); !v.InForce {
				t.Fatalf("round %d: %s", round, v.Problem)
			}
			atOnce(t, containers, (*host.Container).Del)
			same(t, before, state(t, h), fmt.Sprintf("round %d: after the last DEL", round))
			if left := records(t, dataDir); len(left) != len(kept) {
				t.Fatalf("round %d: records %q, and not %q", round, left, kept)
			}
		}
		stop()
		bystanders.remove(t, h)
		if lines := linesWith(state(t, h), "STAGE", "10.", "fd00:", "inet"); lines != nil {
			t.Errorf("left:\n%s", strings.Join(lines, "\n"))
		}
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// pressure is how long packets are sent, at least, while containers come and go: a
// connection across takes a fifth of a second to fail, and there have to be some.
// comings is how many calls there are at least meanwhile, however long they take.
const (
	pressure = 12 * time.Second
	comings  = 300
)

// rhythm is that of datagrams.
const rhythm = 2 * time.Millisecond

// current is packets that flow all the while.
type current struct {
	name     string
	from, to *host.Container
	address  string
	tcp      bool
}

func (c current) String() string {
	protocol := "UDP"
	if c.tcp {
		protocol = "TCP"
	}
	return fmt.Sprintf("%s %s from %s to %s at %s", protocol, c.name, c.from.Name, c.to.Name, c.address)
}

func (c current) flow(ctx context.Context) (host.Stream, error) {
	if c.tcp {
		return c.from.Connections(ctx, 10*rhythm, c.address, containerPort)
	}
	return c.from.Datagrams(ctx, rhythm, c.to, c.address, containerPort)
}

// currents returns those between two ends, in every direction, family and protocol.
func currents(name string, a, b *end) []current {
	var all []current
	for _, way := range [][2]*host.Container{{a.peer, b.server}, {b.peer, a.server}} {
		for _, tcp := range []bool{false, true} {
			for _, address := range []string{way[1].IPv4, way[1].IPv6} {
				all = append(all, current{name, way[0], way[1], address, tcp})
			}
		}
	}
	return all
}

// flow sends all at once, and returns what came of each.
func flow(ctx context.Context, t *testing.T, all []current) []host.Stream {
	t.Helper()
	streams := make([]host.Stream, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			var err error
			if streams[i], err = c.flow(ctx); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	wg.Wait()
	return streams
}

// judge wants nothing of what flows across to have got through, and the rest not
// to have been disturbed.
func judge(t *testing.T, all []current, streams []host.Stream) {
	t.Helper()
	for i, s := range streams {
		switch c := all[i]; {
		case s.Sent < 30:
			t.Errorf("%s: only %d packets", c, s.Sent)
		case c.name == across && s.Arrived > 0:
			t.Errorf("%s: %d of %d packets got through", c, s.Arrived, s.Sent)
		case c.name != across && s.Arrived < s.Sent*99/100:
			t.Errorf("%s: %d of %d packets got through", c, s.Arrived, s.Sent)
		}
	}
}

// across is what currents are called that no packet of must get through.
const across = "across"

// controlled wants all to get through, for a second, without the plugin. Nobody
// waits long for a connection, and on a busy machine some take longer, so that
// another second may be needed.
func controlled(t *testing.T, all []current) {
	t.Helper()
	const rounds = 10
	for round := 1; ; round++ {
		lost := lossy(t, all)
		if lost == nil {
			return
		}
		if round == rounds {
			t.Fatalf("without the plugin: %q", lost)
		}
	}
}

// lossy sends for a second, and returns what a tenth of is lost.
func lossy(t *testing.T, all []current) (lost []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for i, s := range flow(ctx, t, all) {
		if s.Sent < 10 || s.Arrived < s.Sent*9/10 {
			lost = append(lost, fmt.Sprintf("%s: %+v", all[i], s))
		}
	}
	return lost
}

// TestPressure sends packets between two isolated bridges, and on one of them,
// while containers of these and other bridges come and go.
func TestPressure(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		a, b := w.networks[0], w.networks[1]
		all := append(currents(across, a, b), currents("within", a, a)[:2]...)
		controlled(t, all)
		w.protect(t, h)
		newcomers := []*host.Container{}
		for i := range 8 {
			n := host.Dual(fmt.Sprintf("net%d", 6+i%4), fmt.Sprintf("br%d", 6+i%4), 6+i%4, everyPlace[i%4*2%6].firewall())
			if i%4 < 2 {
				n = w.networks[i%4].network
			}
			newcomers = append(newcomers, plain(t, h, n, fmt.Sprintf("newcomer%d", i)))
			n.Plain = false
		}

		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		quiet := watch(t, check(h, a.server))
		var streams []host.Stream
		var wg sync.WaitGroup
		wg.Go(func() { streams = flow(ctx, t, all) })
		calls := churn(t, h, newcomers, comings)
		stop()
		wg.Wait()
		t.Logf("%d calls; %+v", calls, streams)
		judge(t, all, streams)
		quiet()
		w.check(t, usual, "after all")
	})
}

// churn adds and deletes containers, in two rows, for some time and some calls at
// least, and returns how many calls that were.
func churn(t *testing.T, h *host.Host, containers []*host.Container, atLeast int64) int64 {
	t.Helper()
	var wg sync.WaitGroup
	var calls atomic.Int64
	begin := time.Now()
	for row := range 2 {
		wg.Go(func() {
			for i := row; time.Since(begin) < pressure || calls.Load() < atLeast; i += 2 {
				c := containers[i%len(containers)]
				for _, verb := range []string{"ADD", "DEL"} {
					if _, err := c.Call(h.Firewall, verb); err != nil {
						t.Errorf("%s: %v", c.Name, err)
						return
					}
					calls.Add(1)
					time.Sleep(10 * time.Millisecond) // other hosts want the processors too
				}
			}
		})
	}
	wg.Wait()
	return calls.Load()
}
