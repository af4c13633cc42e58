// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"sync"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// newPlaces returns the host's places. Each opens the one connection that a call
// needs when it is first asked.
func newPlaces() map[string]place {
	return map[string]place{
		placeIPTables: iptablesPlace{},
		placeNFTables: nftablesPlace{sync.OnceValues(nftables.Open)},
		placeZones:    zonesPlace{sync.OnceValues(openFirewalld)},
	}
}

type iptablesPlace struct{}

func (iptablesPlace) installed(f policy.Families) (policy.Families, error) {
	return iptables.Installed(f)
}

func (iptablesPlace) read(f policy.Families) (tables, error) { return iptables.Read(f) }

type nftablesPlace struct {
	open func() (*nftables.Conn, error)
}

func (n nftablesPlace) installed(f policy.Families) (policy.Families, error) {
	_, err := n.open()
	if errors.Is(err, nftables.ErrUnsupported) {
		return 0, err
	}
	return f, nil // why it cannot be asked, read says
}

// read reads the table, which is that of both families.
func (n nftablesPlace) read(f policy.Families) (tables, error) {
	if f == 0 {
		return &nftables.State{}, nil
	}
	c, err := n.open()
	if err != nil {
		return &nftables.State{}, err
	}
	return c.Read()
}

// zonesPlace is the zones of the firewalld of this network namespace.
type zonesPlace struct {
	open func() (*firewalld.Conn, error)
}

func openFirewalld() (*firewalld.Conn, error) {
	c, err := firewalld.Connect()
	if err != nil {
		return nil, err
	}
	return c, c.Running()
}

// absent reports whether an error says that there is no firewalld for the caller.
func absent(err error) bool {
	return errors.Is(err, firewalld.ErrNotRunning) || errors.Is(err, firewalld.ErrElsewhere) || errors.Is(err, firewalld.ErrNotAuthorized)
}

func (z zonesPlace) installed(f policy.Families) (policy.Families, error) {
	if f == 0 {
		return 0, nil
	}
	if _, err := z.open(); absent(err) {
		return 0, err
	}
	return f, nil // why it does not answer, read says
}

func (z zonesPlace) read(f policy.Families) (tables, error) {
	if f == 0 {
		return &firewalld.Sources{}, nil
	}
	c, err := z.open()
	if err != nil {
		return &firewalld.Sources{}, err
	}
	return c.Sources(f), nil
}
