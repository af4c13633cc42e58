// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
)

// links makes what the bridge plugin makes of a container on the host: its
// bridge, and a port on that with the other end in another network namespace.
type links struct {
	sandbox *os.File
	bridges map[string]netlink.Link
}

func newLinks(sandbox string) (*links, error) {
	f, err := os.Open("/run/netns/" + sandbox)
	return &links{f, map[string]netlink.Link{}}, err
}

// attach makes the links of a container; the bridge, which stays, with its first.
func (l *links) attach(c container) error {
	bridge, err := l.bridge(c.bridge())
	if err != nil {
		return err
	}
	own := netlink.NewLinkAttrs()
	own.Name, own.MasterIndex = c.port(), bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: own, PeerName: c.port(), PeerNamespace: netlink.NsFd(int(l.sandbox.Fd()))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("adding link %s: %w", c.port(), err)
	}
	return netlink.LinkSetUp(veth)
}

func (l *links) bridge(name string) (netlink.Link, error) {
	if b := l.bridges[name]; b != nil {
		return b, nil
	}
	own := netlink.NewLinkAttrs()
	own.Name = name
	// One that snoops reports a group of its own by IGMP, which is a connection for ten minutes.
	snooping := false
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: own, MulticastSnooping: &snooping}); err != nil {
		return nil, fmt.Errorf("adding bridge %s: %w", name, err)
	}
	b, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	l.bridges[name] = b
	return b, netlink.LinkSetUp(b)
}

// detach removes a container's links.
func (l *links) detach(c container) error {
	port, err := netlink.LinkByName(c.port())
	if err != nil {
		return err
	}
	return netlink.LinkDel(port)
}
