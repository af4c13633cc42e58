// SPDX-License-Identifier: Apache-2.0

package host

import "github.com/containernetworking/plugins/pkg/ns"

// Attach takes the network namespace of a container that somebody else made, by
// its path, to probe from and to.
func (h *Host) Attach(name, netns, ipv4 string) (*Container, error) {
	c := &Container{Name: name, NetNS: netns, IPv4: ipv4, host: h}
	var err error
	c.ns, err = ns.GetNS(netns)
	return c, err
}

// Detach lets the namespace go, which would be there for as long as it is held.
func (c *Container) Detach() error { return c.ns.Close() }
