// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// add isolates the attachment's bridge and forwards its addresses. Repeated, it
// changes nothing, or puts right what somebody changed.
func (p plugin) add(args *skel.CmdArgs) error {
	if err := checkSandbox(args); err != nil {
		return err
	}
	conf, a, err := attachment(args)
	if err != nil {
		return err
	}
	s, err := store.Open(conf.DataDir)
	if err != nil {
		return err
	}
	unlock, err := s.Lock()
	if err != nil {
		return err
	}
	defer unlock()

	rs := policy.Desired(a)
	tables, err := iptables.Read(rs.Families())
	if err != nil {
		return err
	}
	err = apply(tables, rs)
	if err == nil {
		err = p.passOn(conf.PrevResult.Raw)
	}
	if err != nil {
		return errors.Join(err, undo(tables, a))
	}
	return nil
}

// checkSandbox refuses the host's own network namespace before anything is
// done; skel finds out after the call.
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

// apply closes before it opens: the ports of isolated bridges first, then the
// tables, each in one transaction. A flag that must go, goes while the rule that
// tells of the former policy is still there, so that a crash between the two is
// healed by the next call.
func apply(tables *iptables.State, rs policy.RuleSet) error {
	for _, b := range rs.Bridges {
		if b.IngressPolicy == policy.Isolated || tables.DropsSameBridge(b.Name) {
			if err := flagPorts(b); err != nil {
				return err
			}
		}
	}
	return tables.Apply(rs)
}

// flagPorts makes the bridge itself keep its containers apart where the rules
// cannot.
func flagPorts(b policy.Bridge) error {
	bridge, needed, err := needsFlag(b)
	if errors.Is(err, link.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return link.FlagPorts(bridge, needed)
}

func needsFlag(b policy.Bridge) (link.Link, bool, error) {
	bridge, err := link.ByName(b.Name)
	if err != nil || b.IngressPolicy != policy.Isolated {
		return bridge, false, err
	}
	needed, err := link.NeedsFlag(bridge, b.Families)
	return bridge, needed, err
}

// passOn writes the prevResult, which is the plugin's result, as it came.
func (p plugin) passOn(prevResult []byte) error {
	if _, err := p.stdout.Write(append(prevResult, '\n')); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// undo takes back what a failed ADD did. The isolation stays if there are others
// on the bridge, or if it cannot be told.
func undo(tables *iptables.State, a policy.Attachment) error {
	others, err := othersOn(a)
	return errors.Join(err, tables.Undo(others || err != nil))
}
