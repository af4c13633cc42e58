// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"

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

// Attachment returns the attachment that a call is about: the configuration, and
// what prevResult says of the container. kindOf asks the host about an interface
// name.
//
// An error is a *types.Error of code 7 if the network has no bridge and its policy
// needs one; the Attachment is complete but for the bridge. Other errors are
// kindOf's.
func (c *Config) Attachment(
	containerID, ifName string, kindOf func(name string) (LinkKind, error),
) (policy.Attachment, error) {
	a := c.withoutResult(containerID, ifName)
	if c.PrevResult == nil {
		return a, nil
	}
	c.setAddresses(&a)
	var err error
	a.Bridge, a.Port, a.Unseen, err = findBridge(c.PrevResult.Interfaces, kindOf)
	if err == nil && a.Bridge == "" && c.IngressPolicy.Isolates() {
		err = types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(
			"ingressPolicy %q needs a bridge and prevResult has none: chain %q after \"bridge\"",
			c.IngressPolicy, c.Plugin), "")
	}
	return a, err
}

func (c *Config) withoutResult(containerID, ifName string) policy.Attachment {
	a := policy.Attachment{
		Network:        c.Name,
		ContainerID:    containerID,
		IfName:         ifName,
		IngressPolicy:  c.IngressPolicy,
		PublishedPorts: c.PublishedPorts,
		Backend:        c.Backend,
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

// findBridge returns the first bridge among the host's interfaces of a result, and
// the container's port on it. On a DEL the bridge may be gone. So if none is a
// bridge, the first interface that the host does not have counts as the bridge,
// and unseen is true.
func findBridge(
	interfaces []Interface, kindOf func(string) (LinkKind, error),
) (bridge, port string, unseen bool, err error) {
	named, err := byKind(interfaces, kindOf)
	if err != nil {
		return "", "", false, err
	}
	gone := named[NoLink]
	if bridge = first(named[BridgeLink]); bridge == "" && len(gone) > 0 {
		bridge, gone, unseen = gone[0], gone[1:], true
	}
	if port = first(named[OtherLink]); port == "" {
		port = first(gone)
	}
	return bridge, port, unseen, nil
}

// byKind returns the names of the host's interfaces, in order.
func byKind(interfaces []Interface, kindOf func(string) (LinkKind, error)) (map[LinkKind][]string, error) {
	named := map[LinkKind][]string{}
	for _, i := range interfaces {
		if i.Sandbox != "" {
			continue
		}
		kind, err := kindOf(i.Name)
		if err != nil {
			return nil, err
		}
		named[kind] = append(named[kind], i.Name)
	}
	return named, nil
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
