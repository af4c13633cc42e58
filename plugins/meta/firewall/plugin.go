// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// Verbs of CNI.
const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// plugin is the verbs, where they write to and the drivers of rules. It serves
// one call.
type plugin struct {
	stdout, stderr io.Writer
	drivers        map[policy.DriverName]policy.Driver
	log            *callLog
}

// warn tells the operator what did not stop the call.
func (p plugin) warn(errs ...error) {
	warn(p.stderr, errs...)
}

func warn(stderr io.Writer, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		_, _ = fmt.Fprintln(stderr, "firewall: warning:", err)
	}
}

// attachment reads a call that must be valid and have a prevResult.
func (p plugin) attachment(args *skel.CmdArgs) (*netconf.Config, policy.Attachment, error) {
	conf, err := netconf.Parse(args.StdinData)
	if err != nil {
		return nil, policy.Attachment{}, err
	}
	if conf.PrevResult == nil {
		return nil, policy.Attachment{}, types.NewError(types.ErrInvalidNetworkConfig,
			"prevResult is missing: chain \"firewall\" after the plugin that makes the interface", "")
	}
	a, err := conf.Attachment(args.ContainerID, args.IfName, kindOf)
	if err == nil && a.Backend == "" {
		a.Backend, err = p.choose()
	}
	if err == nil {
		p.log.concerns(a)
	}
	return conf, a, err
}

func kindOf(name string) (netconf.LinkKind, error) {
	l, err := link.ByName(name)
	switch {
	case errors.Is(err, link.ErrNotFound):
		return netconf.NoLink, nil
	case err != nil:
		return netconf.NoLink, err
	case l.IsBridge():
		return netconf.BridgeLink, nil
	}
	return netconf.OtherLink, nil
}

// newDrivers returns the host's drivers. Each opens the one connection that a call
// needs when it is first asked.
func newDrivers() map[policy.DriverName]policy.Driver {
	return map[policy.DriverName]policy.Driver{
		policy.Filter: iptables.Driver{},
		policy.Table:  nftables.NewDriver(),
		policy.Zones:  firewalld.NewDriver(),
	}
}
