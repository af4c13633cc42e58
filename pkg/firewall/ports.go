// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"
	"sync"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// Where br_netfilter is off, no rule sees the frames between two ports of a bridge.
// There the bridge itself separates its containers, by the flag "isolated" of their
// ports. Where it is on the flag must be off: see package link.

// ports are the ports of bridges.
type ports struct{ links Links }

// bridgesIn returns the bridges of rule sets, which are the same in every set that
// has any.
func bridgesIn(desired policy.RuleSets) []policy.Bridge {
	for _, rs := range desired {
		if len(rs.Bridges) > 0 {
			return rs.Bridges
		}
	}
	return nil
}

// flag sets or clears the flags of the bridges that are isolated, or were so
// until now.
func (p ports) flag(bridges []policy.Bridge, before policy.RuleSet, actual snapshots) error {
	filtered := sync.OnceValues(p.links.Filtered)
	for _, b := range bridges {
		was := slices.ContainsFunc(before.Bridges, func(old policy.Bridge) bool {
			return old.Name == b.Name && old.IngressPolicy == policy.Isolated
		})
		if was || b.IngressPolicy == policy.Isolated || actual.dropsSameBridge(b.Name) {
			if err := p.flagOf(b, filtered); err != nil {
				return err
			}
		}
	}
	return nil
}

// flagOf gives the ports of one bridge the flag that its policy needs. A bridge
// that is gone has no ports.
func (p ports) flagOf(b policy.Bridge, filtered func() (policy.Families, error)) error {
	bridge, needed, err := p.needsFlag(b, filtered)
	if errors.Is(err, link.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.links.FlagPorts(bridge, needed)
}

func (p ports) needsFlag(
	b policy.Bridge, filtered func() (policy.Families, error),
) (bridge link.Link, needed bool, err error) {
	bridge, err = p.links.ByName(b.Name)
	if err != nil || b.IngressPolicy != policy.Isolated {
		return bridge, false, err
	}
	everywhere, err := filtered()
	return bridge, link.NeedsFlag(bridge, b.Families, everywhere), err
}

// check returns an error for an isolated bridge whose containers neither rules
// nor the bridge separate.
func (p ports) check(bridges []policy.Bridge) error {
	filtered := sync.OnceValues(p.links.Filtered)
	for _, b := range bridges {
		if b.IngressPolicy != policy.Isolated {
			continue
		}
		bridge, needed, err := p.needsFlag(b, filtered)
		if errors.Is(err, link.ErrNotFound) {
			return diagnosis.BridgeGone(b.Name)
		}
		if err != nil {
			return err
		}
		if err := p.links.CheckPorts(bridge, needed); err != nil {
			return err
		}
	}
	return nil
}

// inForce returns an error that names the first thing which the host does not hold
// as the rule sets say.
func (p ports) inForce(actual snapshots, desired policy.RuleSets) error {
	if err := actual.check(desired); err != nil {
		return err
	}
	return p.check(bridgesIn(desired))
}
