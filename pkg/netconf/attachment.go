// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// LinkKind says what the host knows about an interface name.
type LinkKind int

// The kinds that finding the bridge tells apart.
const (
	NoLink LinkKind = iota // no such interface, or no longer
	BridgeLink
	OtherLink
)

// Attachment joins the configuration with the container that a call is about.
// kindOf asks the host about an interface. An error is a *types.Error of code 7
// for a network that cannot be isolated because it has no bridge, and then the
// Attachment is without one.
func (c *Config) Attachment(containerID, ifName string, kindOf func(name string) (LinkKind, error)) (policy.Attachment, error) {
	a := policy.Attachment{
		Network:        c.Name,
		ContainerID:    containerID,
		IfName:         ifName,
		IngressPolicy:  c.IngressPolicy,
		PublishedPorts: c.PublishedPorts,
		Backend:        c.Backend,
		AdminChain:     c.AdminChain,
		Zone:           c.FirewalldZone,
	}
	if c.Plugin == PluginIsolation {
		a.AdminChain, a.Zone = "", ""
	}
	if c.PrevResult == nil {
		return a, nil
	}
	if c.Plugin == PluginIsolation {
		a.IsolatedIn = onlyFamily(c.PrevResult.Addresses)
	} else {
		a.Addresses = c.PrevResult.Addresses
	}
	var err error
	if a.Bridge, a.Port, a.Unseen, err = findBridge(c.PrevResult.Interfaces, kindOf); err != nil {
		return a, err
	}
	if a.Bridge == "" && c.IngressPolicy.Isolates() {
		return a, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(
			"ingressPolicy %q needs a bridge and prevResult has none: chain %q after \"bridge\"", c.IngressPolicy, c.Plugin), "")
	}
	return a, nil
}

// onlyFamily returns the family of addresses, and none where there are two.
func onlyFamily(addresses []netip.Prefix) policy.Families {
	families := policy.Attachment{Addresses: addresses}.Families()
	if families == policy.BothFamilies {
		return 0
	}
	return families
}

// findBridge returns the bridge among the host's interfaces of a result, and
// the container's port on it. Where no interface is a bridge, the first that the
// host no longer has is taken for it: on a DEL the bridge may be gone.
func findBridge(interfaces []Interface, kindOf func(string) (LinkKind, error)) (bridge, port string, unseen bool, err error) {
	var gone []string
	for _, i := range interfaces {
		if i.Sandbox != "" {
			continue
		}
		kind, err := kindOf(i.Name)
		if err != nil {
			return "", "", false, err
		}
		switch {
		case kind == NoLink:
			gone = append(gone, i.Name)
		case kind == BridgeLink && bridge == "":
			bridge = i.Name
		case kind == OtherLink && port == "":
			port = i.Name
		}
	}
	if bridge == "" && len(gone) > 0 {
		bridge, gone, unseen = gone[0], gone[1:], true
	}
	if port == "" && len(gone) > 0 {
		port = gone[0]
	}
	return bridge, port, unseen, nil
}
