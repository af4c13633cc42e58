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

// flagged remembers in the records which ports the plugin gave the flag to. Others set
// it, too: the bridge plugin's portIsolation, libvirt, an operator. Their flags stay.
type flagged struct{ r *records }

func (f flagged) Has(index int) bool { return slices.Contains(f.r.Flagged, index) }

func (f flagged) Remember(index int) error {
	f.r.Flagged = append(f.r.Flagged, index)
	return f.r.store.MarkFlagged(index)
}

func (f flagged) Forget(index int) error { return f.r.store.ForgetFlagged(index) }

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

// flag sets or clears the flags of the bridges that are isolated, or were so until
// now. A port that comes back may have a flag of its last policy.
func (p ports) flag(r *records, bridges []policy.Bridge, before policy.RuleSet, actual snapshots, about []string) error {
	filtered := sync.OnceValues(p.links.Filtered)
	for _, b := range bridges {
		was := slices.ContainsFunc(before.Bridges, func(old policy.Bridge) bool {
			return old.Name == b.Name && old.IngressPolicy.Separates()
		})
		left := len(r.Flagged) > 0 && slices.Contains(about, b.Name)
		if was || left || b.IngressPolicy.Separates() || actual.dropsSameBridge(b.Name) {
			if err := p.flagOf(r, b, filtered); err != nil {
				return err
			}
		}
	}
	return nil
}

// flagOf gives the ports of one bridge the flag that its policy needs. A bridge
// that is gone has no ports.
func (p ports) flagOf(r *records, b policy.Bridge, filtered func() (policy.Families, error)) error {
	bridge, needed, err := p.needsFlag(b, filtered)
	if errors.Is(err, link.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.links.FlagPorts(bridge, needed, flagged{r})
}

func (p ports) needsFlag(
	b policy.Bridge, filtered func() (policy.Families, error),
) (bridge link.Link, needed bool, err error) {
	bridge, err = p.links.ByName(b.Name)
	if err != nil || !b.IngressPolicy.Separates() {
		return bridge, false, err
	}
	everywhere, err := filtered()
	return bridge, link.NeedsFlag(bridge, b, everywhere), err
}

// check returns an error for an isolated bridge whose containers neither rules
// nor the bridge separate.
func (p ports) check(r *records, bridges []policy.Bridge) error {
	filtered := sync.OnceValues(p.links.Filtered)
	for _, b := range bridges {
		if !b.IngressPolicy.Separates() {
			continue
		}
		bridge, needed, err := p.needsFlag(b, filtered)
		if errors.Is(err, link.ErrNotFound) {
			return diagnosis.BridgeGone(b.Name)
		}
		if err != nil {
			return err
		}
		if err := p.links.CheckPorts(bridge, needed, flagged{r}); err != nil {
			return err
		}
	}
	return nil
}

// inForce returns a function that compares: its error names the first thing which the
// host does not hold as the rule sets say.
func (p ports) inForce(r *records) func(actual snapshots, desired policy.RuleSets) error {
	return func(actual snapshots, desired policy.RuleSets) error {
		if err := actual.check(desired); err != nil {
			return err
		}
		return p.check(r, bridgesIn(desired))
	}
}

// removeGuards removes what guards ports that are no longer on an isolated bridge.
func (fw *Engine) removeGuards(before []policy.Port, desired policy.RuleSets) error {
	rs, used := desired[policy.Table]
	isDesired := func(p policy.Port) bool {
		return slices.ContainsFunc(rs.Ports, func(now policy.Port) bool {
			return now.Name == p.Name && slices.Equal(now.Addresses, p.Addresses)
		})
	}
	if !used || !slices.ContainsFunc(before, func(p policy.Port) bool { return !isDesired(p) }) {
		return nil
	}
	missing, err := fw.drivers.remove(policy.Table, policy.RuleSet{Ports: before, KeptPorts: rs.Ports})
	return errors.Join(missing, err)
}
