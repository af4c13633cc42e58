// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// check compares what the kernel holds with what add would make it hold. It
// writes nothing, and so takes no lock: each family's table is read in one piece
// and written in one.
func (p plugin) check(args *skel.CmdArgs) error {
	_, a, err := attachment(args)
	if err != nil {
		return err
	}
	rs := policy.Desired(a)
	tables, err := iptables.Read(rs.Families())
	if err != nil {
		return err
	}
	if err := tables.Check(rs); err != nil {
		return err
	}
	return checkPorts(rs)
}

// checkPorts returns an error for an isolated bridge whose containers are kept
// apart neither by the rules nor by the bridge.
func checkPorts(rs policy.RuleSet) error {
	for _, b := range rs.Bridges {
		if b.IngressPolicy != policy.Isolated {
			continue
		}
		bridge, needed, err := needsFlag(b)
		if errors.Is(err, link.ErrNotFound) {
			return fmt.Errorf("bridge %q is gone", b.Name)
		}
		if err != nil {
			return err
		}
		if err := link.CheckPorts(bridge, needed); err != nil {
			return err
		}
	}
	return nil
}
