// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// plugin is the verbs and where they write to.
type plugin struct {
	stdout, stderr io.Writer
}

// warn tells the operator what did not stop the call.
func (p plugin) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, "firewall: warning: "+format+"\n", args...)
}

// attachment reads a call that must be valid and have a prevResult.
func attachment(args *skel.CmdArgs) (*netconf.Config, policy.Attachment, error) {
	conf, err := netconf.Parse(args.StdinData)
	if err != nil {
		return nil, policy.Attachment{}, err
	}
	if conf.PrevResult == nil {
		return nil, policy.Attachment{}, types.NewError(types.ErrInvalidNetworkConfig,
			"prevResult is missing: chain \"firewall\" after the plugin that makes the interface", "")
	}
	a, err := conf.Attachment(args.ContainerID, args.IfName, kindOf)
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

// othersOn reports whether anything but the attachment's own port is enslaved to
// its bridge: a container of any plugin that needs the bridge's isolation.
func othersOn(a policy.Attachment) (bool, error) {
	if a.Bridge == "" {
		return false, nil
	}
	bridge, err := link.ByName(a.Bridge)
	if errors.Is(err, link.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ports, err := link.Ports(bridge)
	if err != nil {
		return false, err
	}
	for _, p := range ports {
		if p.Name != a.Port {
			return true, nil
		}
	}
	return false, nil
}
