// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// What is isolated is what the kernel routes, not what a configuration calls a bridge.
// The bridge is the one that the container's port is on. Beside it, a network has the
// interfaces by which the host routes to its addresses, where those are its own: they
// come from the same plugins, or stand on the bridge.

// located returns an attachment with the interfaces that its network has on the host.
// Its Interfaces are those that prevResult names, apart from the bridge. strays are
// interfaces that lead to its addresses, and are not known to be the network's.
func (fw *Engine) located(a policy.Attachment) (located policy.Attachment, strays []string, err error) {
	links := fw.ports.links
	bridge, err := bridgeOf(links, &a)
	if err != nil {
		return a, nil, err
	}
	listed := a.Interfaces
	a.Interfaces = nil
	if a.Bridge == "" {
		a.Interfaces = slices.Clone(listed)
	}
	routes, err := routesTo(links, a)
	if err != nil {
		return a, nil, err
	}
	for _, l := range routes {
		if l.Index == bridge.Index || slices.Contains(a.Interfaces, l.Name) {
			continue
		}
		own, err := isOn(links, l, bridge)
		if err != nil {
			return a, nil, err
		}
		if own || slices.Contains(listed, l.Name) || a.Bridge == "" {
			a.Interfaces = append(a.Interfaces, l.Name)
		} else {
			strays = append(strays, l.Name)
		}
	}
	err = addVRF(links, &a, bridge)
	slices.Sort(a.Interfaces)
	return a, strays, err
}

// errUnnamed is wrapped by the error about an interface that rules cannot name.
var errUnnamed = errors.New("no rule can name an interface of the network")

// withNames returns an error where rules must not name an interface as the kernel calls
// it. iptables names none where there is no bridge: it accepts by address alone.
func withNames(a policy.Attachment) (policy.Attachment, error) {
	if a.Backend == policy.IPTables && a.Bridge == "" {
		a.Interfaces = slices.DeleteFunc(a.Interfaces, func(name string) bool { return policy.CheckInterface(name) != nil })
	}
	if err := a.CheckNames(); err != nil {
		return a, fmt.Errorf("%w: %w", errUnnamed, err)
	}
	return a, nil
}

// bridgeOf returns the bridge that the attachment's port is on, under the name that
// it has now, and notes it. Without a port it is the bridge of the attachment's name.
func bridgeOf(links Links, a *policy.Attachment) (link.Link, error) {
	if a.Bridge == "" {
		return link.Link{}, nil
	}
	if a.PortIndex == 0 && a.Port != "" {
		found, err := links.Existing([]string{a.Port})
		if err != nil {
			return link.Link{}, err
		}
		a.PortIndex = found[a.Port]
	}
	bridge, err := masterOf(links, a.PortIndex)
	if err == nil && !bridge.IsBridge() {
		bridge, err = links.ByName(a.Bridge)
	}
	if errors.Is(err, link.ErrNotFound) {
		return link.Link{}, nil // whoever adds it again heals it
	}
	if err != nil || !bridge.IsBridge() {
		return bridge, err
	}
	a.Bridge, a.BridgeIndex, a.Unseen = bridge.Name, bridge.Index, false
	return bridge, nil
}

// masterOf returns what a port is on; nothing where there is no such port, or it is on
// nothing.
func masterOf(links Links, port int) (link.Link, error) {
	l, err := byIndex(links, port)
	if err != nil {
		return link.Link{}, err
	}
	return byIndex(links, l.MasterIndex)
}

// byIndex returns an interface, or nothing where there is none.
func byIndex(links Links, index int) (link.Link, error) {
	if index == 0 {
		return link.Link{}, nil
	}
	l, err := links.ByIndex(index)
	if errors.Is(err, link.ErrNotFound) {
		return link.Link{}, nil
	}
	return l, err
}

// routesTo returns the interfaces by which the host routes to an attachment's
// addresses.
func routesTo(links Links, a policy.Attachment) ([]link.Link, error) {
	var found []link.Link
	for _, p := range a.Addresses {
		if p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue // every interface has a route to it
		}
		index, err := links.RouteTo(p.Addr())
		if err != nil {
			return nil, err
		}
		if index == 0 || slices.ContainsFunc(found, func(l link.Link) bool { return l.Index == index }) {
			continue
		}
		l, err := byIndex(links, index)
		if err != nil {
			return nil, err
		}
		if l.Index != 0 {
			found = append(found, l)
		}
	}
	return found, nil
}

// isOn reports whether an interface stands on a bridge or on one of its ports: a VLAN
// or macvlan device, or a veth whose other end is a port.
func isOn(links Links, l, bridge link.Link) (bool, error) {
	lower, err := byIndex(links, l.LowerIndex)
	return bridge.Index != 0 && (lower.Index == bridge.Index || lower.MasterIndex == bridge.Index), err
}

// addVRF adds the VRF that a bridge is in: the kernel shows the forward hook a packet
// from the bridge as one that came in by the VRF.
func addVRF(links Links, a *policy.Attachment, bridge link.Link) error {
	master, err := byIndex(links, bridge.MasterIndex)
	if err == nil && master.Kind == "vrf" && !slices.Contains(a.Interfaces, master.Name) {
		a.Interfaces = append(a.Interfaces, master.Name)
	}
	return err
}

// checkGroups returns an error where an interface would belong to two networks: to
// the rules, they were one.
func (r records) checkGroups(a policy.Attachment, strays []string) error {
	if a.Bridge == "" {
		return nil
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		other := e.Attachment
		if isSameGroup(&other, &a) || other.Bridge == "" {
			continue
		}
		if !a.IngressPolicy.Isolates() && !other.IngressPolicy.Isolates() {
			continue
		}
		for _, name := range slices.Concat(a.Interfaces, strays) {
			if slices.Contains(other.Inbound(), name) {
				return fmt.Errorf("the host routes to this container by %q, which belongs to the network of bridge %q: "+
					"give the networks addresses and interfaces of their own", name, other.Bridge)
			}
		}
	}
	return nil
}

func isSameGroup(a, b *policy.Attachment) bool {
	return a.Bridge == b.Bridge && slices.Equal(a.Interfaces, b.Interfaces)
}

// asRecorded returns an attachment as all entries of its conflist state it, if the record
// knows that there are several, and this is one of them.
func (r records) asRecorded(a policy.Attachment) policy.Attachment {
	for _, e := range r.of(a) {
		known := e.Attachment
		if slices.Contains(known.Stated, a.IngressPolicy) {
			a.IngressPolicy, a.Stated, a.PublishedPorts = known.IngressPolicy, known.Stated, known.PublishedPorts
		}
	}
	return a
}

// asStated adds up the entries of one conflist that name this plugin. The second one's
// ADD finds the record of the first one, with the same port: a container that comes back
// has another one. The stricter policy holds, and the record remembers what was stated.
func (r records) asStated(a policy.Attachment) policy.Attachment {
	for _, e := range r.of(a) {
		known, err := r.store.Read(e)
		if err != nil || a.PortIndex == 0 || known.PortIndex != a.PortIndex {
			continue
		}
		a.AddUp(known)
	}
	return a
}
