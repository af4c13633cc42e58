// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"cmp"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// place is a kind of network. Without a policy it is the host or the outside.
type place struct {
	Policy         string
	PublishedPorts string
}

func (p place) name() string { return p.Policy + "/" + p.PublishedPorts }

func (p place) isolates() bool { return p.Policy != "open" }

func (p place) separates() bool { return p.Policy == "isolated" || p.Policy == "isolated-strict" }

func (p place) isStrict() bool { return p.Policy == "strict" || p.Policy == "isolated-strict" }

func (p place) firewall() map[string]any {
	return map[string]any{"ingressPolicy": p.Policy, "publishedPorts": p.PublishedPorts}
}

// Where probes come from besides networks, which are called by their place.
const (
	theHost    = "host"
	theOutside = "outside"
)

// containerPort is what the servers listen on.
const containerPort = 80

// forbiddenPort and the number of a network is the port of the host that its
// peer's portForbidden is published at.
const forbiddenPort = 8100

// world is networks on a host, and the places around them.
type world struct {
	networks      []*end
	self, outside *host.Container
	backend       host.Backend
	rejects       bool // the host says so to the outside, with an ICMP message, when it stops something
}

// end is a network with a container that serves a port, which the host
// publishes, and with a peer of it.
type end struct {
	place
	alias        string // told apart by, if there are two of one place
	network      *host.Network
	server, peer *host.Container
	hostPort     int
}

// newWorld makes a network, with no container in another, for each of the
// places. The plugin has not run yet.
func newWorld(t *testing.T, h *host.Host, places ...place) *world {
	t.Helper()
	w := &world{outside: must(h.Outside())(t), self: must(h.Self())(t), backend: h.Backend}
	var networks []*host.Network
	for i, p := range places {
		n := i + 1
		e := &end{place: p, hostPort: 8000 + n}
		e.network = host.Dual(fmt.Sprintf("net%d", n), fmt.Sprintf("br%d", n), n, p.firewall())
		e.network.Plain = true
		networks, w.networks = append(networks, e.network), append(w.networks, e)
	}
	ok(t, h.Forward(fmt.Sprintf("%d-networks", len(places)), networks, func() error { return w.populate(h) }))
	return w
}

// populate attaches a server and a peer to each network.
func (w *world) populate(h *host.Host) (err error) {
	for i, e := range w.networks {
		n := i + 1
		if e.server, err = h.Add(e.network, fmt.Sprintf("server%d", n), map[int]int{e.hostPort: containerPort}); err != nil {
			return err
		}
		if e.peer, err = h.Add(e.network, fmt.Sprintf("peer%d", n), map[int]int{forbiddenPort + n: portForbidden}); err != nil {
			return err
		}
		if err = e.server.Serve(containerPort); err != nil {
			return err
		}
	}
	return nil
}

// protect calls the plugin for every container, as it would have been chained.
func (w *world) protect(t *testing.T, h *host.Host) {
	t.Helper()
	w.call(t, h.Firewall, "ADD")
}

// call calls a firewall plugin for every container.
func (w *world) call(t *testing.T, plugin, verb string) {
	t.Helper()
	for _, e := range w.networks {
		e.network.Plain = false
		must(e.server.Call(plugin, verb))(t)
		must(e.peer.Call(plugin, verb))(t)
	}
}

// remove deletes every container, from all of its network.
func (w *world) remove(t *testing.T, h *host.Host) {
	t.Helper()
	for _, e := range w.networks {
		for _, c := range []*host.Container{e.server, e.peer} {
			must(c.Call(h.Firewall, "DEL"))(t)
			ok(t, c.Del())
		}
	}
}

func (e *end) name() string { return cmp.Or(e.alias, e.place.name()) }

// become changes the configuration of the network.
func (e *end) become(p place) {
	e.place, e.network.Firewall = p, p.firewall()
}

type (
	family string // IPv4 or IPv6
	path   string // how a container is addressed
)

const (
	direct    path = "direct"    // at its own address
	published path = "published" // at the host's address and a published port
)

// Protocols are TCP, for a connection, which needs both directions, and UDP, for
// a single datagram, which shows a hole in one direction.
var protocols = []string{"TCP", "UDP"}

// probe is one attempt to reach one container.
type probe struct {
	from, to       string // a network's name, or theHost or theOutside
	source, target place  // of the networks

	path   path
	family family
	itself bool // from the very container that it leads to
	told   bool // that it is stopped, as if nobody listened, which somebody does

	protocol string
	client   *host.Container
	server   *host.Container // who must answer
	address  string
	port     int
	patience time.Duration
}

func (p probe) String() string {
	from := p.from
	if p.itself {
		from = "itself"
	}
	return fmt.Sprintf("%s from %s to %s, %s, %s", p.family, from, p.to, p.path, p.protocol)
}

// run returns the verdict, or what else came of it.
func (p probe) run() string {
	patience := cmp.Or(p.patience, host.Patience)
	if p.protocol == "UDP" {
		verdict, err := p.client.Send(p.server, p.address, p.port, patience)
		return cmp.Or(string(verdict), fmt.Sprint(err))
	}
	verdict, name, err := p.client.Connect(p.address, p.port, patience)
	switch {
	case err != nil:
		return err.Error()
	case verdict == host.Refused && p.told:
		return string(host.Blocked)
	case verdict == host.Open && name != p.server.Name:
		return "answered by " + name
	}
	return string(verdict)
}

// verdicts runs probes, all at once.
func verdicts(probes []probe) map[string]string {
	results := make([]string, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() { results[i] = p.run() })
	}
	wg.Wait()
	got := map[string]string{}
	for i, p := range probes {
		got[p.String()] = results[i]
	}
	return got
}

// difference returns in what the verdicts of probes differ from what is wanted.
// Hundreds of threads at once on a busy machine may keep one from its answer for
// longer than its patience; so what looks blocked, and should not, is asked once
// more, with more of it. One answer proves that the way is open.
func difference(probes []probe, want map[string]string) string {
	got := verdicts(probes)
	var again []probe
	for _, p := range probes {
		if name := p.String(); got[name] == string(host.Blocked) && want[name] == string(host.Open) {
			p.patience = 10 * host.Patience
			again = append(again, p)
		}
	}
	maps.Copy(got, verdicts(again))
	return gocmp.Diff(want, got)
}

// probes returns one for every way to the servers.
func (w *world) probes() []probe {
	var all []probe
	for _, to := range w.networks {
		clients := []probe{
			{from: theHost, client: w.self},
			{from: theOutside, client: w.outside, told: w.rejects},
			{from: to.name(), source: to.place, client: to.server, itself: true},
		}
		for _, from := range w.networks {
			clients = append(clients, probe{from: from.name(), source: from.place, client: from.peer})
		}
		for _, c := range clients {
			all = append(all, to.probes(c)...)
		}
	}
	return all
}

// probes returns a client's ways to the server.
func (e *end) probes(p probe) []probe {
	p.to, p.target, p.server = e.name(), e.place, e.server
	var all []probe
	for _, p.family = range []family{"IPv4", "IPv6"} {
		for _, p.path = range []path{direct, published} {
			if p.itself && p.path == direct {
				continue // never leaves the container
			}
			p.address, p.port = e.target(p.path, p.family)
			for _, p.protocol = range protocols {
				all = append(all, p)
			}
		}
	}
	return all
}

func (e *end) target(by path, in family) (address string, port int) {
	switch {
	case by == direct && in == "IPv4":
		return e.server.IPv4, containerPort
	case by == direct:
		return e.server.IPv6, containerPort
	case in == "IPv4":
		return host.HostIPv4, e.hostPort
	}
	return host.HostIPv6, e.hostPort
}
