// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

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
	all := p.remember(s).briefs()
	sets := policy.ByDriver(all, all)
	h, difference, err := p.confirmed(sets, held.inForce)
	backend := conf.Backend
	if err == nil && backend == "" {
		backend, err = p.choose()
	}
	if err == nil {
		err = p.available(backend, h)
	}
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, explained(err, conf.DataDir).Error(), "")
	}
	o := h.obstacles(backend)
	p.warn(explained(o.Published, conf.DataDir))
	if err := errors.Join(kin(errDiffers, difference), o.Forwarding); err != nil {
		return types.NewError(types.ErrLimitedConnectivity, explained(err, conf.DataDir).Error(), "")
	}
	return nil
}

// available returns an error where an ADD cannot work with a backend.
func (p plugin) available(backend policy.Backend, h held) error {
	var errs []error
	for _, name := range backend.Drivers() {
		errs = append(errs, p.availableAt(name, h))
	}
	return errors.Join(errs...)
}

// availableAt returns an error where an ADD cannot work with a place. What was
// read of it is proof enough that it can; else it is read.
func (p plugin) availableAt(name policy.DriverName, h held) error {
	if t, read := h[name]; read && t.Families() != 0 {
		return nil
	}
	at := p.drivers[name]
	installed, missing := at.Installed(policy.BothFamilies)
	t, err := at.Read(installed)
	if t.Families() == 0 {
		return errors.Join(missing, err)
	}
	p.warn(err)
	h[name] = t
	return t.Check(policy.RuleSet{}) // whether it may be written to at all
}

// inForce returns an error that names the first thing which the kernel does not
// hold as the rule sets say.
func (h held) inForce(sets policy.RuleSets) error {
	if err := h.check(sets); err != nil {
		return err
	}
	return checkPorts(isolating(sets))
}

// briefs returns all attachments as far as the names of their records say.
func (l live) briefs() []policy.Attachment {
	var all []policy.Attachment
	for _, e := range l.Entries {
		all = append(all, e.Attachment)
	}
	return all
}
