// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// hostFile is the host's configuration.
var hostFile = netconf.HostFile

// readHost reads the host's configuration. A call that goes on after an error does with
// what the conflist says.
func readHost() (netconf.Host, error) {
	h, _, err := netconf.ReadHost(hostFile)
	return h, err
}

// attachment reads a call that must be valid and must have a prevResult.
func attachment(args *skel.CmdArgs, h netconf.Host) (*netconf.Config, policy.Attachment, error) {
	conf, err := netconf.Parse(args.StdinData, h)
	if err != nil {
		return nil, policy.Attachment{}, err
	}
	if conf.PrevResult == nil {
		return nil, policy.Attachment{}, types.NewError(types.ErrInvalidNetworkConfig,
			"prevResult is missing: chain \"firewall\" after the plugin that makes the interface", "")
	}
	a, err := conf.Attachment(args.ContainerID, args.IfName, linkOf)
	return conf, a, err
}

// linkOf asks the kernel which interface has a name.
func linkOf(name string) (netconf.HostLink, error) {
	l, err := link.Kernel{}.ByName(name)
	kind := netconf.OtherLink
	switch {
	case errors.Is(err, link.ErrNotFound):
		return netconf.HostLink{Kind: netconf.NoLink}, nil
	case err != nil:
		return netconf.HostLink{}, err
	case l.IsBridge():
		kind = netconf.BridgeLink
	}
	return netconf.HostLink{Kind: kind, Name: l.Name, Index: l.Index}, nil
}

// checkSandbox refuses the host's own network namespace before anything is done. skel
// finds out after the call.
func checkSandbox(args *skel.CmdArgs) error {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return nil
	}
	own, err := ns.CheckNetNS(args.Netns)
	if err != nil {
		return err
	}
	if own {
		return types.NewError(types.ErrInvalidNetNS, "CNI_NETNS is the network namespace that the plugin runs in", "")
	}
	return nil
}

// fewestDescriptors is more than any call has open at once.
const fewestDescriptors = 40

// checkDescriptors refuses a call that might run out of file descriptors halfway, and
// could not roll back either. os raises the soft limit to the hard one.
func checkDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of file descriptors: %w", err)
	}
	if limit.Cur < fewestDescriptors {
		return fmt.Errorf("the limit of file descriptors is %d: it must be at least %d (ulimit -n)",
			limit.Cur, fewestDescriptors)
	}
	return nil
}

// deliver writes the prevResult as it came. It is the plugin's result.
func (p plugin) deliver(prevResult []byte) error {
	if _, err := p.stdout.Write(append(prevResult, '\n')); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
