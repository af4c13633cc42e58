// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// del removes what the attachment has, and its bridge's isolation with the last
// one on it. What is not there is no error, nor is a configuration that add
// would refuse: the container is gone either way, and refusing would leave its
// rules to whoever gets its address next.
func (p plugin) del(args *skel.CmdArgs) error {
	conf, err := netconf.Parse(args.StdinData)
	if conf == nil {
		return err
	}
	p.warn(err)
	a, err := conf.Attachment(args.ContainerID, args.IfName, kindOf)
	p.warn(err)
	l, unlock, done, err := p.lockedFor(conf.DataDir, verbDel, a)
	l, unlock, err = p.evenWithout(l, unlock, err)
	if err != nil {
		return err
	}
	defer unlock()
	if done {
		return nil
	}
	p.log.concerns(asRecorded(a, l.of(a)))
	return l.leavers().share(a, func(all ...policy.Attachment) error { return p.detach(l, all...) })
}

// detach takes attachments away.
func (p plugin) detach(l live, all ...policy.Attachment) error {
	d := newDeparture()
	for _, a := range all {
		d.leave(a)
		own := l.of(a)
		for _, e := range own {
			p.warn(l.part(d, e))
		}
		d.unrecorded = d.unrecorded || len(own) == 0 && (len(d.addresses) > 0 || len(d.bridges) > 0)
	}
	p.warn(l.partStale(d))
	return p.depart(l, d)
}

// evenWithout goes on without a lock and records where there is no place for them:
// a disk that is full or read-only must not keep a container from going.
func (p plugin) evenWithout(l live, unlock func(), err error) (live, func(), error) {
	if errors.Is(err, store.ErrLocked) {
		return live{}, nil, err
	}
	if err != nil {
		p.warn(err)
		return live{}, func() {}, nil
	}
	p.warn(l.forgetLeaving(""))
	return l, unlock, nil
}
