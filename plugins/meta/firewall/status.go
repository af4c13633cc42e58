// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// status tells the runtime whether an ADD can work (else code 50), and whether
// what was added is still in force (else 51).
func (p plugin) status(args *skel.CmdArgs) error {
	conf, err := netconf.Parse(args.StdinData)
	if err != nil {
		return err
	}
	s, err := store.Peek(conf.DataDir)
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	rs := policy.Desired(p.remember(s).briefs()...)
	difference, err := confirmed(
		func() (*iptables.State, error) {
			tables, err := p.read(policy.BothFamilies, rs.Families())
			if err == nil && tables.Families() == 0 {
				_, err = iptables.Installed(policy.BothFamilies)
			}
			return tables, err
		},
		func(tables *iptables.State) error { return inForce(tables, rs) })
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	if difference != nil {
		return types.NewError(types.ErrLimitedConnectivity, difference.Error()+`: "firewall restore" puts it back`, "")
	}
	return nil
}

// inForce returns an error that names the first thing which the kernel does not
// hold as a rule set says.
func inForce(tables *iptables.State, rs policy.RuleSet) error {
	if err := tables.Check(rs); err != nil {
		return err
	}
	return checkPorts(rs)
}

// briefs returns all attachments as far as the names of their records say.
func (l live) briefs() []policy.Attachment {
	var all []policy.Attachment
	for _, e := range l.Entries {
		all = append(all, e.Attachment)
	}
	return all
}
