// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/store"
)

// gc removes the attachments of the network that the runtime no longer knows. A
// configuration that is not valid removes nothing: a list that cannot be read
// must not pass for an empty one.
func (p plugin) gc(args *skel.CmdArgs) error {
	conf, err := netconf.Parse(args.StdinData)
	if err != nil {
		return err
	}
	if conf.Valid == nil {
		return nil
	}
	l, unlock, err := p.evenWithout(p.locked(conf.DataDir))
	if err != nil {
		return err
	}
	defer unlock()

	valid := map[string]bool{}
	for _, v := range conf.Valid {
		valid[store.Key(conf.Name, v.ContainerID, v.IfName)] = true
	}
	d := newDeparture()
	for _, e := range l.Entries {
		if e.NetworkKey == store.NetworkKey(conf.Name) && !valid[e.Key] {
			p.warn(l.part(d, e))
		}
	}
	return p.depart(l, d)
}
