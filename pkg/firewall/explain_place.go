// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// The places that no container is.
const (
	TheHost    = "host"
	TheOutside = "outside" // what the default route leads to
)

// Place is an end of a connection: a container of this plugin, or any other place.
type Place struct {
	Name       string             // of a container, its ID; TheHost, TheOutside, or an address
	Attachment *policy.Attachment // nil for what is no container of this plugin
	Address    netip.Addr         // of the outside, one that is nobody's; the zero value for any
	Port       uint16             // 0 for any
	Interface  policy.Interface   // of the host, by which its packets come and go

	isAny     bool // it stands for a network
	isAnother bool // of a network with one container: another one that may come
}

// Network returns the name of a container's network.
func (p Place) Network() string {
	if p.Attachment == nil {
		return ""
	}
	return p.Attachment.Network
}

func (p Place) isHost() bool { return p.Name == TheHost }

func (p Place) bridge() string {
	if p.Attachment == nil {
		return ""
	}
	return p.Attachment.Bridge
}

// find returns the places that a name stands for: of a container, each of its interfaces;
// of a network, each container on it.
func (x *Explainer) find(name string) ([]Place, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []Place{x.placeOf(address.Unmap())}, nil
	}
	if name == TheHost || name == TheOutside {
		return []Place{{Name: name}}, nil
	}
	var network, exact, prefix []Place
	ids := map[string]bool{}
	for i := range x.all {
		a := &x.all[i]
		if a.Network == AdoptedNetwork {
			continue
		}
		p := Place{Name: a.ContainerID, Attachment: a}
		switch {
		case a.Network == name:
			p.isAny = true
			network = append(network, p)
		case a.ContainerID == name:
			exact = append(exact, p)
		case name != "" && strings.HasPrefix(a.ContainerID, name):
			prefix, ids[a.ContainerID] = append(prefix, p), true
		}
	}
	for _, found := range [][]Place{network, exact} {
		if len(found) > 0 {
			return found, nil
		}
	}
	switch {
	case len(ids) > 1:
		return nil, fmt.Errorf("%q is the beginning of the IDs of %d containers: add more of it", name, len(ids))
	case len(prefix) == 0:
		return nil, fmt.Errorf("%q is no container, network or address that this plugin knows: "+
			`"cni-firewall status" lists the containers; "host" and "outside" are known, too`, name)
	}
	return prefix, nil
}

// placeOf returns the place that has an address.
func (x *Explainer) placeOf(address netip.Addr) Place {
	if slices.Contains(x.own, address) || address.IsLoopback() {
		return Place{Name: TheHost, Address: address}
	}
	for i := range x.all {
		a := &x.all[i]
		if slices.ContainsFunc(a.Addresses, func(p netip.Prefix) bool { return p.Addr() == address }) {
			return Place{Name: a.ContainerID, Attachment: a, Address: address}
		}
	}
	return Place{Name: address.String(), Address: address}
}

// choose chooses, among the places that both ends may be, those on one bridge, and else the
// first ones. It reports whether there are any in the family of the path. Two places of one
// network are two containers, if it has as many.
func (x *Explainer) choose(p *Path, sources, targets []Place) bool {
	best := -1
	for _, from := range sources {
		for _, to := range targets {
			inFrom, inTo := in(from, p.Family), in(to, p.Family)
			if !inFrom || !inTo {
				continue
			}
			rank := 0
			if from.bridge() != "" && from.bridge() == to.bridge() {
				rank = 1
			}
			if rank == 1 && from.Name != to.Name {
				rank = 2
			}
			if rank > best {
				best, p.From, p.To = rank, from, to
			}
		}
	}
	if best < 0 {
		return false
	}
	isAny := p.From.isAny || p.To.isAny
	p.From.isAnother = isAny && p.From.Attachment != nil && p.From.Attachment == p.To.Attachment
	return true
}

// in reports whether a place has an address of a family.
func in(p Place, f policy.Family) bool {
	switch {
	case p.Address.IsValid():
		return policy.FamilyOf(netip.PrefixFrom(p.Address, p.Address.BitLen())) == f
	case p.Attachment != nil:
		return p.Attachment.Families().Has(f)
	}
	return true
}

// locate fills in the address and the interface of a place.
func (x *Explainer) locate(p *Place, f policy.Family) error {
	if p.Name == TheOutside {
		p.Address = somewhere[f]
	}
	if p.isHost() {
		return nil
	}
	if p.Attachment != nil && !p.Address.IsValid() && !p.isAnother {
		p.Address = addressOf(p.Attachment, f)
	}
	var way link.Way
	if p.Address.IsValid() {
		var err error
		if way, err = x.fw.sight.WayTo(p.Address); err != nil {
			return err
		}
	}
	p.Interface = x.interfaceOf(way.Index, "")
	if p.Attachment != nil {
		p.Interface = x.interfaceOfNetwork(*p.Attachment, p.Interface)
	}
	if p.Interface.Name == "" {
		return fmt.Errorf("%s: %w", p.Name, errNoRoute)
	}
	return nil
}

// addressOf returns the first address in a family, or the zero value.
func addressOf(a *policy.Attachment, f policy.Family) netip.Addr {
	for _, p := range a.Addresses {
		if policy.FamilyOf(p) == f {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// interfaceOfNetwork returns the interface by which the host routes to a container, if that
// is one of its network's, and else the first of these.
func (x *Explainer) interfaceOfNetwork(a policy.Attachment, routed policy.Interface) policy.Interface {
	names := a.Inbound()
	if slices.Contains(names, routed.Name) || len(names) == 0 {
		return routed
	}
	return x.interfaceOf(0, names[0])
}

var errNoRoute = errors.New("the host has no route to it")

// somewhere are addresses that are nobody's (RFC 5737, RFC 3849): the default route leads
// to them.
var somewhere = map[policy.Family]netip.Addr{
	policy.IPv4: netip.MustParseAddr("198.51.100.1"), policy.IPv6: netip.MustParseAddr("2001:db8::1"),
}

// interfaceOf returns the interface with an index, or else that with a name.
func (x *Explainer) interfaceOf(index int, name string) policy.Interface {
	for _, l := range x.links {
		if l.Index == index || index == 0 && l.Name == name {
			return policy.Interface{Name: l.Name, Index: l.Index}
		}
	}
	return policy.Interface{Name: name}
}

// linkOf returns a link by its name; the zero value where there is none.
func (x *Explainer) linkOf(name string) link.Link {
	i := slices.IndexFunc(x.links, func(l link.Link) bool { return l.Name == name })
	if i < 0 {
		return link.Link{}
	}
	return x.links[i]
}

// bridgeOf returns what the rules say of a place's bridge. One without a bridge stands for
// itself.
func (x *Explainer) bridgeOf(p Place) policy.Bridge {
	a := p.Attachment
	for _, b := range x.bridges {
		if a.Bridge != "" && b.Name == a.Bridge && slices.Equal(b.Interfaces, a.Interfaces) {
			return b
		}
	}
	return policy.Bridge{Name: "network " + a.Network, IngressPolicy: policy.Open, PublishedPorts: a.PublishedPorts}
}
