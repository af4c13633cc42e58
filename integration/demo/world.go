// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// networks are those of the demo, in the order of the table.
var networks = []*network{
	{"shop", policy.SameBridge, []string{"shop1", "shop2"}},
	{"blog", policy.SameBridge, []string{"blog1", "blog2"}},
	{"vault", policy.Isolated, []string{"vault1", "vault2"}},
}

// published are the ports of the host that lead to a container's servedPort.
var published = map[string]int{"shop1": 8080, "vault1": 8081}

// servedPort is where everybody listens.
const servedPort = 80

// world is all that traffic is sent between.
type world struct {
	host      *host.Host
	ends      map[string]*host.Container // by the name of the place
	conflists map[*network]*host.Network
}

// newWorld makes the outside and the networks, which have no container yet.
func newWorld(h *host.Host) (*world, error) {
	w := &world{host: h, ends: map[string]*host.Container{}, conflists: map[*network]*host.Network{}}
	for i, n := range networks {
		firewall := map[string]any{"ingressPolicy": n.policy}
		w.conflists[n] = host.Dual(n.name, "br-"+n.name, i+1, firewall)
	}
	outside, err := h.Outside()
	if err != nil {
		return nil, err
	}
	self, err := h.Self()
	if err != nil {
		return nil, err
	}
	w.ends["outside"], w.ends["host"] = outside, self
	return w, errors.Join(outside.Serve(servedPort), self.Serve(servedPort))
}

// add attaches all containers to their networks.
func (w *world) add(withPlugin bool) error {
	for _, n := range networks {
		w.conflists[n].Plain = !withPlugin
		for _, name := range n.containers {
			if err := w.addContainer(n, name); err != nil {
				return fmt.Errorf("adding container %s to network %s: %w", name, n.name, err)
			}
		}
	}
	return nil
}

func (w *world) addContainer(n *network, name string) error {
	if c := w.ends[name]; c != nil {
		return c.Add()
	}
	ports := map[int]int{}
	if port := published[name]; port != 0 {
		ports[port] = servedPort
	}
	c, err := w.host.Add(w.conflists[n], name, ports)
	if err != nil {
		return err
	}
	w.ends[name] = c
	return c.Serve(servedPort)
}

// del detaches them.
func (w *world) del() error {
	var errs []error
	for _, n := range networks {
		for _, name := range n.containers {
			if err := w.ends[name].Del(); err != nil {
				errs = append(errs, fmt.Errorf("deleting container %s from network %s: %w", name, n.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// places returns who sends: the rows of the table.
func places() []place {
	var all []place
	for _, n := range networks {
		for _, name := range n.containers {
			all = append(all, place{name, n})
		}
	}
	return append(all, place{name: "outside"}, place{name: "host"})
}

// destinations returns who is sent to: the columns of the table.
func destinations() []destination {
	var direct, ports []destination
	for _, p := range places() {
		direct = append(direct, destination{place: p})
		if port := published[p.name]; port != 0 {
			ports = append(ports, destination{p, port})
		}
	}
	return append(direct, ports...)
}

// describe prints what there is.
func (w *world) describe(out output) error {
	variant, err := w.host.Run("iptables", "--version")
	if err != nil {
		return err
	}
	out.print("A throw-away host with %s; the machine's own network is not touched. On it:\n", strings.TrimSpace(variant))
	for _, n := range networks {
		out.print("  network %-5s  %-14s  %-25s  %s\n", n.name, strings.Join(n.containers, ", "),
			strings.Join(w.conflists[n].Subnets, ", "), meaning[n.policy])
	}
	for _, d := range destinations() {
		if d.port != 0 {
			out.print("  %s      port %d of the host, which is published: it leads to %s, for all who come\n", d.title(), d.port, d.name)
		}
	}
	return nil
}

// meaning says in a user's words what the plugin makes of a network.
var meaning = map[policy.IngressPolicy]string{
	policy.SameBridge: "same-bridge: containers reach each other, but none of another network",
	policy.Isolated:   "isolated: containers do not even reach each other",
}
