// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// LinkKind says what an interface name stands for on the host.
type LinkKind int

// The kinds that matter when the bridge is looked for.
const (
	NoLink     LinkKind = iota // no such interface, or no longer
	BridgeLink                 // a bridge
	OtherLink                  // any other interface
)

// HostLink is an interface of the host.
type HostLink struct {
	Kind  LinkKind
	Name  string // the kernel's own: prevResult may have an alternative name
	Index int    // the kernel's number
}

// Attachment returns the attachment that a call is about: the configuration, and
// what prevResult says of the container. linkOf asks the host about an interface
// name. The Interfaces are all that prevResult has on the host beside the bridge and
// the port.
//
// An error is a *types.Error of code 7 if the policy needs a bridge, and the network
// has none, or interfaces that no rule can name; the Attachment is complete but for
// these. Other errors are linkOf's.
func (c *Config) Attachment(
	containerID, ifName string, linkOf func(name string) (HostLink, error),
) (policy.Attachment, error) {
	a := c.withoutResult(containerID, ifName)
	if c.PrevResult == nil {
		return a, nil
	}
	c.setAddresses(&a)
	found, err := onHost(c.PrevResult.Interfaces, linkOf)
	if err != nil {
		return a, err
	}
	found, unnamed := named(found)
	setInterfaces(&a, found)
	if !c.IngressPolicy.Isolates() {
		return a, nil // what cannot be named has no rule of its own
	}
	if len(unnamed) == 0 && a.Bridge == "" {
		unnamed.add("ingressPolicy %q%s needs a bridge and prevResult has none: chain %q after \"bridge\"",
			c.IngressPolicy, c.setByHost(policy.KeyIngressPolicy), c.Plugin)
	}
	return a, unnamed.err()
}

// setByHost returns what a message adds to a value that no conflist has.
func (c *Config) setByHost(key string) string {
	switch source := c.Sources[key]; source {
	case "", FromConflist, Unset:
		return ""
	default:
		return fmt.Sprintf(" (%s of the host's configuration)", source)
	}
}

func (c *Config) withoutResult(containerID, ifName string) policy.Attachment {
	a := policy.Attachment{
		Network:        c.Name,
		ContainerID:    containerID,
		IfName:         ifName,
		IngressPolicy:  c.IngressPolicy,
		PublishedPorts: c.PublishedPorts,
		Backend:        c.Backend,
		Sources:        c.Sources,
	}
	if c.Plugin != PluginIsolation {
		a.AdminChain, a.Zone = c.AdminChain, c.FirewalldZone
	}
	return a
}

// setAddresses sets the addresses to forward; for PluginIsolation, which forwards
// nothing, the families to isolate in.
func (c *Config) setAddresses(a *policy.Attachment) {
	if c.Plugin == PluginIsolation {
		a.IsolatedIn = onlyFamily(c.PrevResult.Addresses)
	} else {
		a.Addresses = c.PrevResult.Addresses
	}
}

// onlyFamily returns the family of addresses, or none if there are two.
func onlyFamily(addresses []netip.Prefix) policy.Families {
	families := policy.Attachment{Addresses: addresses}.Families()
	if families == policy.BothFamilies {
		return 0
	}
	return families
}

// setInterfaces sets the first bridge among the host's interfaces of a result, the
// container's port on it, which is the first that is no bridge, and the rest. On a DEL
// the bridge may be gone. So if none is a bridge, the first interface that the host does
// not have counts as the bridge, and Unseen is true. Without a bridge the port is one of
// the rest.
func setInterfaces(a *policy.Attachment, rest []HostLink) {
	is := func(kind LinkKind) func(HostLink) bool { return func(l HostLink) bool { return l.Kind == kind } }
	bridge := slices.IndexFunc(rest, is(BridgeLink))
	if bridge < 0 {
		bridge = slices.IndexFunc(rest, is(NoLink))
		a.Unseen = bridge >= 0
	}
	if bridge >= 0 {
		a.Bridge, a.BridgeIndex = rest[bridge].Name, rest[bridge].Index
		rest = slices.Delete(rest, bridge, bridge+1)
	}
	port := slices.IndexFunc(rest, func(l HostLink) bool { return l.Kind != BridgeLink })
	if port >= 0 {
		a.Port, a.PortIndex = rest[port].Name, rest[port].Index
	}
	if port >= 0 && bridge >= 0 {
		rest = slices.Delete(rest, port, port+1)
	}
	for _, l := range slices.DeleteFunc(rest, is(NoLink)) {
		a.Interfaces = append(a.Interfaces, l.Name)
	}
}

// onHost returns the host's interfaces, in order and each once: a result may name one
// by two of its names. What the kernel does not take for a name is no interface of its:
// a PCI address, or nothing for vhost-user.
func onHost(interfaces []Interface, linkOf func(string) (HostLink, error)) ([]HostLink, error) {
	var found []HostLink
	seen := map[string]bool{}
	for _, i := range interfaces {
		if i.Sandbox != "" || !policy.IsInterface(i.Name) {
			continue
		}
		l, err := linkOf(i.Name)
		if err != nil {
			return nil, err
		}
		if l.Kind == NoLink {
			l = HostLink{Name: i.Name}
		}
		if !seen[l.Name] {
			seen[l.Name] = true
			found = append(found, l)
		}
	}
	return found, nil
}

// named returns the interfaces that a rule can name, and why it cannot name the others.
func named(all []HostLink) (valid []HostLink, unnamed problems) {
	for _, l := range all {
		if err := policy.CheckInterface(l.Name); err != nil {
			unnamed.add("prevResult interface %q %w", l.Name, err)
		} else {
			valid = append(valid, l)
		}
	}
	return valid, unnamed
}
