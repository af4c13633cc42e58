// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// fakeLinks are interfaces in memory. A port belongs to the bridge that its name
// begins with: "br1.c1" to "br1".
type fakeLinks struct {
	host     *fakeHost
	links    map[string]link.Link
	filtered policy.Families
	err      error // of every question
}

// plug makes a bridge, unless it is there, and a port of it.
func (h *fakeHost) plug(bridge, container string) {
	for _, name := range []string{bridge, portOf(bridge, container)} {
		if _, known := h.links.links[name]; !known {
			h.links.links[name] = link.Link{Index: 10 + len(h.links.links), Name: name, Kind: "veth"}
		}
	}
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

func (l fakeLinks) Ports(bridge link.Link) ([]link.Link, error) {
	var ports []link.Link
	for _, found := range l.links {
		if len(found.Name) > len(bridge.Name) && found.Name[:len(bridge.Name)+1] == bridge.Name+"." {
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

func (l fakeLinks) ExistsIndex(index int) (bool, error) {
	for _, found := range l.links {
		if found.Index == index {
			return true, l.err
		}
	}
	return false, l.err
}

func (l fakeLinks) Filtered() (policy.Families, error) { return l.filtered, l.err }

func (l fakeLinks) FlagPorts(bridge link.Link, on bool) error {
	ports, _ := l.Ports(bridge)
	for _, p := range ports {
		if p.Isolated == on {
			continue
		}
		if err := l.host.step("flag %s %t", p.Name, on); err != nil {
			return err
		}
		p.Isolated = on
		l.links[p.Name] = p
	}
	return nil
}

func (l fakeLinks) CheckPorts(bridge link.Link, on bool) error {
	ports, _ := l.Ports(bridge)
	for _, p := range ports {
		if p.Isolated != on {
			return fmt.Errorf("port %s: %w", p.Name, link.ErrFlag)
		}
	}
	return nil
}
