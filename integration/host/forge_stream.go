// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"maps"
	"net"
	"strconv"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/plugins/pkg/ns"
)

// Socket opens a UDP socket in the container. It is connected to nobody, so that no ICMP
// error of an earlier datagram keeps a later one from being sent. Port 0 is any.
func (c *Container) Socket(port int) (conn net.PacketConn, err error) {
	err = c.ns.Do(func(ns.NetNS) (err error) {
		conn, err = net.ListenPacket("udp", ":"+strconv.Itoa(port))
		return err
	})
	return conn, err
}

// Pair opens a TCP connection from the container to a port of another one, by an address of
// it, and returns both ends.
func (c *Container) Pair(to *Container, address string, port int) (client, server net.Conn, err error) {
	var listener net.Listener
	if err = to.ns.Do(func(ns.NetNS) (err error) {
		listener, err = net.Listen("tcp", ":"+strconv.Itoa(port))
		return err
	}); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	if err = c.ns.Do(func(ns.NetNS) (err error) {
		client, err = net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	}); err != nil {
		return nil, nil, err
	}
	server, err = listener.Accept()
	return client, server, err
}

// Join attaches a container to a second network, by another interface. The value that it
// returns is the same container with the addresses of that attachment. A plugin that is
// called for it alone must be told the interface: CNI_IFNAME=name.
func (h *Host) Join(n *Network, c *Container, ifName string) (*Container, error) {
	runtime := &libcni.RuntimeConf{
		ContainerID: c.Name, NetNS: c.NetNS, IfName: ifName,
		CapabilityArgs: maps.Clone(c.runtime.CapabilityArgs),
	}
	delete(runtime.CapabilityArgs, "portMappings")
	n.Backend = c.network.Backend
	joined := &Container{Name: c.Name, NetNS: c.NetNS, ns: c.ns, host: h, network: n, runtime: runtime}
	return joined, joined.Add()
}
