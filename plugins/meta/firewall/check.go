// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// check compares what the kernel holds for the attachment and its bridge with
// what add would make it hold. It writes nothing, and so takes no lock.
func (p plugin) check(args *skel.CmdArgs) error {
	conf, a, err := attachment(args)
	if err != nil {
		return err
	}
	s, err := store.Peek(conf.DataDir)
	if err != nil {
		return err
	}
	l := p.remember(s)
	compare := (*iptables.State).Check
	if own, _ := l.split(keyOf(a)); len(own) == 0 {
		// Attached by upstream's plugin, which has no rules for published ports.
		a.PublishedPorts = policy.Deny
		compare = (*iptables.State).CheckPresent
	}
	rs := l.with(a).On(a.Bridge)
	difference, err := confirmed(
		func() (*iptables.State, error) { return iptables.Read(rs.Families()) },
		func(tables *iptables.State) error { return compare(tables, rs) })
	if err := errors.Join(err, difference); err != nil {
		return err
	}
	return checkPorts(rs)
}
