// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/iptables"
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
	if err != nil {
		p.warn("%v", err)
	}
	a, err := conf.Attachment(args.ContainerID, args.IfName, kindOf)
	if err != nil {
		p.warn("%v", err)
	}
	unlock, err := p.lockIfPossible(conf.DataDir)
	if err != nil {
		return err
	}
	defer unlock()

	rs, err := gone(a)
	families, missing := iptables.Installed(rs.Families())
	if missing != nil && families&a.Families() != a.Families() {
		p.warn("%v", missing)
	}
	tables, readErr := iptables.Read(families)
	return errors.Join(err, readErr, tables.Remove(rs))
}

// lockIfPossible goes on without a lock where there is no place for one: a disk
// that is full or read-only must not keep a container from going.
func (p plugin) lockIfPossible(dataDir string) (unlock func(), err error) {
	s, err := store.Open(dataDir)
	if err == nil {
		unlock, err = s.Lock()
	}
	if err != nil && !errors.Is(err, store.ErrLocked) {
		p.warn("going on without the lock: %v", err)
		return func() {}, nil
	}
	return unlock, err
}

// gone returns the rule set that goes with an attachment: its addresses, and its
// bridge in both families if nobody is left on it. With an error the bridge
// stays, because it cannot be told.
func gone(a policy.Attachment) (policy.RuleSet, error) {
	rs := policy.RuleSet{Addresses: a.Addresses}
	others, err := othersOn(a)
	if err == nil && !others && a.Bridge != "" {
		rs.Bridges = []policy.Bridge{{Name: a.Bridge, Families: policy.BothFamilies}}
	}
	return rs, err
}
