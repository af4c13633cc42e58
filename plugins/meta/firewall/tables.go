// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// read reads the tables of families, of which some are needed: an address has no
// rules without them. The others are those of other attachments and of bridges;
// a host that has no use for a family often has no tool for it, or no tables.
func (p plugin) read(families, needed policy.Families) (*iptables.State, error) {
	installed, _ := iptables.Installed(families)
	tables, err := iptables.Read(installed)
	if lacks := needed &^ tables.Families(); lacks != 0 {
		_, missing := iptables.Installed(lacks)
		return tables, errors.Join(missing, err)
	}
	p.warn(err)
	return tables, nil
}

// confirmed reads and compares until it sees no difference, or the same one twice
// in a row. A listing of iptables-nft is not taken at one moment: rules that
// another call writes meanwhile may be in it twice, or not at all.
func confirmed(read func() (*iptables.State, error), compare func(*iptables.State) error) (difference, err error) {
	const attempts = 5
	seen := ""
	for range attempts {
		tables, err := read()
		if err != nil {
			return nil, err
		}
		difference = compare(tables)
		if difference == nil || difference.Error() == seen {
			break
		}
		seen = difference.Error()
	}
	return difference, nil
}

// apply closes before it opens: the ports of isolated bridges first, then the
// tables, each in one transaction. A bridge that was isolated until now, as its
// records or its rules tell, loses the flags of its ports ahead of them, so that
// a crash between the two is healed by the next call.
func apply(tables *iptables.State, rs policy.RuleSet, before policy.RuleSet) error {
	for _, b := range rs.Bridges {
		was := slices.ContainsFunc(before.Bridges, func(old policy.Bridge) bool {
			return old.Name == b.Name && old.IngressPolicy == policy.Isolated
		})
		if was || b.IngressPolicy == policy.Isolated || tables.DropsSameBridge(b.Name) {
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
