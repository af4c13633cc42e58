// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestUnderway replaces upstream's plugin by ours, and ours by upstream's, with
// containers running and packets on their way, on a host that forwards nothing
// that no rule accepts: neither may a path open nor a container lose its network.
func TestUnderway(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"same-bridge", "deny"})
		w.checkAllOpen(t)
		ok(t, w.outside.Serve(containerPort))
		a, b := w.networks[0], w.networks[1]
		all := append(currents(across, a, b), currents("within", a, a)[:2]...)
		all = append(all, currents("within", b, b)[:2]...)
		for _, address := range []string{w.outside.IPv4, w.outside.IPv6} {
			all = append(all, current{"abroad", a.peer, w.outside, address, false}, current{"abroad", b.server, w.outside, address, false})
		}
		controlled(t, all)
		w.call(t, h.Upstream(), "ADD")
		closed.setForwardPolicy(t, h)
		upstreams := state(t, h)

		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		flowing := make(chan []host.Stream)
		go func() { flowing <- flow(ctx, t, all) }()
		enough := time.After(10 * time.Second) // for connections, each of which takes a while to fail
		upgrade(t, h, w, upstreams)
		<-enough
		stop()
		judge(t, all, <-flowing)

		w.check(t, closed, "after all")
		w.remove(t, h)
		shell(t, h, "iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT")
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

func upgrade(t *testing.T, h *host.Host, w *world, upstreams string) {
	t.Helper()
	checks := func(when string, plugins ...string) {
		t.Helper()
		keeps(t, upstreams, state(t, h), when)
		for _, plugin := range plugins {
			w.call(t, plugin, "CHECK")
		}
	}
	// Ours knows of none of them, and finds nothing wrong.
	checks("before ours", h.Upstream(), h.Firewall)
	if v := look(t, h.Firewall); len(v.Networks) > 0 || !v.InForce {
		t.Errorf("status before the first ADD: %+v", v)
	}
	must(h.Run(h.Firewall, "restore"))(t)
	must(gc(h, w.networks[0].network))(t)
	checks("restore and GC", h.Upstream(), h.Firewall)

	var young []*host.Container
	for _, e := range w.networks {
		c := plain(t, h, e.network, "young-"+e.network.Name)
		e.network.Plain = false
		young = append(young, c)
		must(c.Call(h.Firewall, "ADD"))(t)
		checks("ADD of a new container", h.Upstream(), h.Firewall)
		must(c.Call(h.Firewall, "DEL"))(t)
		checks("DEL of the only container with a record", h.Upstream(), h.Firewall)
		must(c.Call(h.Firewall, "ADD"))(t)
		must(e.server.Call(h.Firewall, "ADD"))(t) // as "podman network reload"
		checks("ADD of an older container", h.Upstream(), h.Firewall)
	}

	// And back.
	for i, e := range w.networks {
		must(young[i].Call(h.Upstream(), "CHECK"))(t)
		must(young[i].Call(h.Upstream(), "ADD"))(t)
		must(e.peer.Call(h.Upstream(), "ADD"))(t)
		checks("upstream's ADD", h.Upstream(), h.Firewall)
		must(young[i].Call(h.Upstream(), "DEL"))(t)
		checks("upstream's DEL", h.Upstream(), h.Firewall)
		if lines := linesWith(state(t, h), young[i].IPv4+"/", young[i].IPv6+"/"); lines != nil {
			t.Errorf("upstream's DEL leaves %q", lines)
		}
		// Ours again: its records are none of upstream's business.
		must(young[i].Call(h.Firewall, "DEL"))(t)
		ok(t, young[i].Del())
		checks("our DEL after upstream's", h.Upstream(), h.Firewall)
	}
}
