// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// fakeLinks are interfaces in memory.
type fakeLinks struct {
	host     *fakeHost
	links    map[string]link.Link
	filtered policy.Families
	routes   map[netip.Addr]string // by which interface, if not by the bridge
	err      error                 // of every question
}

// plug makes a bridge, unless it is there, and a port of it.
func (h *fakeHost) plug(bridge, container string) {
	if _, known := h.links.links[bridge]; !known {
		h.next++
		h.links.links[bridge] = link.Link{Index: h.next, Name: bridge, Kind: "bridge", Up: true}
	}
	if name := portOf(bridge, container); h.links.links[name].Index == 0 {
		h.next++
		h.links.links[name] = link.Link{
			Index: h.next, Name: name, Kind: "veth", PeerAway: true, Up: true, MasterIndex: h.links.links[bridge].Index,
		}
	}
}

// rename gives an interface another name.
func (h *fakeHost) rename(from, to string) {
	l := h.links.links[from]
	delete(h.links.links, from)
	l.Name = to
	h.links.links[to] = l
}

// unplug takes an interface away.
func (h *fakeHost) unplug(name string) { delete(h.links.links, name) }

func portOf(bridge, container string) string { return bridge + "." + container }

func (l fakeLinks) ByName(name string) (link.Link, error) {
	found, known := l.links[name]
	if !known {
		return link.Link{}, fmt.Errorf("looking up %q: %w", name, link.ErrNotFound)
	}
	return found, l.err
}

func (l fakeLinks) All() ([]link.Link, error) { return slices.Collect(maps.Values(l.links)), l.err }

func (l fakeLinks) Ports(bridge link.Link) ([]link.Link, error) {
	var ports []link.Link
	for _, found := range l.links {
		if found.MasterIndex == bridge.Index {
			ports = append(ports, found)
		}
	}
	slices.SortFunc(ports, func(a, b link.Link) int { return a.Index - b.Index })
	return ports, l.err
}

func (l fakeLinks) Existing(names []string) (map[string]int, error) {
	found := map[string]int{}
	for _, name := range names {
		if known, is := l.links[name]; is {
			found[name] = known.Index
		}
	}
	return found, l.err
}

func (l fakeLinks) ByIndex(index int) (link.Link, error) {
	for _, found := range l.links {
		if found.Index == index {
			return found, l.err
		}
	}
	return link.Link{}, fmt.Errorf("looking up %d: %w", index, link.ErrNotFound)
}

func (l fakeLinks) Names(indices []int) (map[int]string, error) {
	names := map[int]string{}
	for _, index := range indices {
		if found, err := l.ByIndex(index); err == nil {
			names[index] = found.Name
		}
	}
	return names, l.err
}

func (l fakeLinks) RouteTo(address netip.Addr) (int, error) {
	return l.links[l.routes[address]].Index, l.err
}

func (l fakeLinks) ForgetNeighbor(_ int, address netip.Addr) error {
	l.host.locked(func() {
		l.host.queued = slices.DeleteFunc(l.host.queued, func(a netip.Addr) bool { return a == address })
	})
	return l.err
}

func (l fakeLinks) SetUp(port link.Link, up bool) error {
	if err := l.host.step("set %s up %t", port.Name, up); err != nil {
		return err
	}
	port.Up = up
	l.links[port.Name] = port
	return nil
}

func (l fakeLinks) Filtered() (policy.Families, error) { return l.filtered, l.err }

func (l fakeLinks) FlagPorts(bridge link.Link, on bool, own link.Flagged) error {
	ports, _ := l.Ports(bridge)
	for _, p := range ports {
		if p.Isolated == on || !on && !own.Has(p.Index) {
			continue
		}
		if on {
			if err := own.Remember(p.Index); err != nil {
				return err
			}
		}
		if err := l.host.step("flag %s %t", p.Name, on); err != nil {
			return err
		}
		p.Isolated = on
		l.links[p.Name] = p
		if !on {
			if err := own.Forget(p.Index); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l fakeLinks) CheckPorts(bridge link.Link, on bool, own link.Flagged) error {
	ports, _ := l.Ports(bridge)
	for _, p := range ports {
		if p.Isolated != on && (on || own.Has(p.Index)) {
			return fmt.Errorf("port %s: %w", p.Name, link.ErrFlag)
		}
	}
	return nil
}
