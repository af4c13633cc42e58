// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// add refuses a host's configuration that cannot be read: a conflist alone may say
// something milder.
func (p plugin) add(args *skel.CmdArgs) error {
	if err := checkSandbox(args); err != nil {
		return err
	}
	h, err := readHost()
	if err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
	}
	conf, a, err := attachment(args, h)
	if err != nil {
		return err
	}
	return p.engine(conf.DataDir).Add(a, func() error { return p.deliver(conf.PrevResult.Raw) })
}

// check goes on without the host's configuration: a runtime may take a failure for a
// broken network, and make a new one, which would be refused. The record tells what that
// configuration said at the ADD.
func (p plugin) check(args *skel.CmdArgs) error {
	h, unread := readHost()
	conf, a, err := attachment(args, h)
	if err != nil {
		return err
	}
	engine := p.engine(conf.DataDir)
	if unread != nil {
		p.warn(unread)
		a = engine.Recorded(a)
	}
	return engine.Check(a)
}

// del goes on with a configuration that add would refuse: the container is gone either
// way, and refusing would leave its rules to whoever gets its address next.
func (p plugin) del(args *skel.CmdArgs) error {
	h, err := readHost()
	p.warn(err)
	conf, err := netconf.Parse(args.StdinData, h)
	if conf == nil {
		return err
	}
	p.warn(err)
	a, err := conf.Attachment(args.ContainerID, args.IfName, linkOf)
	p.warn(err)
	return p.engine(conf.DataDir).Del(a)
}

// gc removes nothing for a configuration that is not valid: a list that cannot be
// read must not pass for an empty one.
func (p plugin) gc(args *skel.CmdArgs) error {
	h, err := readHost()
	p.warn(err)
	conf, err := netconf.Parse(args.StdinData, h)
	if err != nil || conf.Valid == nil {
		return err
	}
	var valid []policy.Owner
	for _, v := range conf.Valid {
		valid = append(valid, policy.Owner{Network: conf.Name, ContainerID: v.ContainerID, IfName: v.IfName})
	}
	return p.engine(conf.DataDir).GC(conf.Name, valid)
}

func (p plugin) status(args *skel.CmdArgs) error {
	h, err := readHost()
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	conf, err := netconf.Parse(args.StdinData, h)
	if err != nil {
		return err
	}
	return p.engine(conf.DataDir).Status(conf.Name, conf.Backend, conf.IngressPolicy)
}

// coded gives a verb's errors the CNI code that tells the runtime what to do.
func coded(verb func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		err := checkDescriptors()
		if err == nil {
			err = verb(args)
		}
		var unavailable firewall.Unavailable
		var limited firewall.Limited
		switch {
		case errors.As(err, &unavailable):
			return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
		case errors.As(err, &limited):
			return types.NewError(types.ErrLimitedConnectivity, err.Error(), "")
		case firewall.IsTemporary(err):
			return types.NewError(types.ErrTryAgainLater, err.Error(), "")
		case firewall.IsConfiguration(err):
			return types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
		}
		return err
	}
}
