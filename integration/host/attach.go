// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"net"

	"github.com/containernetworking/plugins/pkg/ns"
)

// Attach takes the network namespace of a container that somebody else made, by
// its path, to probe from and to. Its addresses are those of eth0.
func (h *Host) Attach(name, netns string) (*Container, error) {
	c := &Container{Name: name, NetNS: netns, host: h}
	var err error
	if c.ns, err = ns.GetNS(netns); err != nil {
		return nil, err
	}
	if err := c.ns.Do(func(ns.NetNS) error { return c.readAddresses() }); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the addresses of %s: %w", name, err), c.Detach())
	}
	return c, nil
}

func (c *Container) readAddresses() error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	addresses, err := eth0.Addrs()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		switch ip := a.(*net.IPNet).IP; {
		case ip.To4() != nil:
			c.IPv4 = ip.String()
		case !ip.IsLinkLocalUnicast():
			c.IPv6 = ip.String()
		}
	}
	return nil
}

// Detach lets the namespace go, which would be there for as long as it is held. A
// socket holds it, too.
func (c *Container) Detach() error {
	err := c.ns.Close()
	for _, socket := range c.sockets {
		err = errors.Join(err, socket.Close())
	}
	return err
}
