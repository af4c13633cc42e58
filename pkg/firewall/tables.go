// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// confirmed reads and compares until it sees no difference, or the same one twice
// in a row. A listing of iptables-nft is not taken at one moment: rules that
// another call writes meanwhile may be in it twice, or not at all.
func (fw *Engine) confirmed(
	sets policy.RuleSets, compare func(held, policy.RuleSets) error,
) (h held, difference, err error) {
	const attempts = 5
	seen := ""
	for range attempts {
		if h, err = fw.readAll(sets, wholly(sets)); err != nil {
			return h, nil, err
		}
		difference = compare(h, sets)
		if difference == nil || difference.Error() == seen {
			break
		}
		seen = difference.Error()
	}
	return h, difference, nil
}

// apply closes before it opens: the ports of isolated bridges first, then each
// place's tables in one transaction, then zones, if all of that was done. A bridge that was isolated until now, as
// its records or its rules tell, loses the flags of its ports ahead of them, so
// that a crash between the two is healed by the next call.
func (h held) apply(sets policy.RuleSets, before policy.RuleSet, about []string) error {
	if err := h.flagPorts(isolating(sets), before); err != nil {
		return err
	}
	var errs []error
	for _, name := range closingFirst(sets) {
		t, read := h[name]
		if !read || name.Opens() && (errors.Join(errs...) != nil || t.Families() == 0) {
			continue // why it could not be read was told
		}
		errs = append(errs, t.Apply(sets[name], about))
	}
	return errors.Join(errs...)
}

// closingFirst returns the places of rule sets, first those that only isolate,
// last the one that only opens.
func closingFirst(sets policy.RuleSets) []policy.DriverName {
	return slices.SortedFunc(maps.Keys(sets), func(a, b policy.DriverName) int {
		return cmp.Or(
			openingLast(a, b),
			cmp.Compare(len(sets[a].Addresses), len(sets[b].Addresses)),
			cmp.Compare(a, b))
	})
}

// openingFirst orders places for what goes: first the one that only opens.
func openingFirst(a, b policy.DriverName) int { return cmp.Or(openingLast(b, a), cmp.Compare(a, b)) }

func openingLast(a, b policy.DriverName) int {
	switch {
	case a.Opens() == b.Opens():
		return 0
	case a.Opens():
		return 1
	}
	return -1
}

// isolating returns a rule set with the bridges, which are the same wherever
// there are any.
func isolating(sets policy.RuleSets) policy.RuleSet {
	for _, rs := range sets {
		if len(rs.Bridges) > 0 {
			return rs
		}
	}
	return policy.RuleSet{}
}

func (h held) flagPorts(rs, before policy.RuleSet) error {
	filtered := sync.OnceValues(link.Filtered)
	for _, b := range rs.Bridges {
		was := slices.ContainsFunc(before.Bridges, func(old policy.Bridge) bool {
			return old.Name == b.Name && old.IngressPolicy == policy.Isolated
		})
		if was || b.IngressPolicy == policy.Isolated || h.dropsSameBridge(b.Name) {
			if err := flagPorts(b, filtered); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropsSameBridge reports whether a bridge's policy was isolated until now, as
// its rules tell.
func (h held) dropsSameBridge(bridge string) bool {
	for _, t := range h {
		if t.DropsSameBridge(bridge) {
			return true
		}
	}
	return false
}

// flagPorts makes the bridge itself keep its containers apart where the rules
// cannot.
func flagPorts(b policy.Bridge, filtered func() (policy.Families, error)) error {
	bridge, needed, err := needsFlag(b, filtered)
	if errors.Is(err, link.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return link.FlagPorts(bridge, needed)
}

func needsFlag(b policy.Bridge, filtered func() (policy.Families, error)) (link.Link, bool, error) {
	bridge, err := link.ByName(b.Name)
	if err != nil || b.IngressPolicy != policy.Isolated {
		return bridge, false, err
	}
	everywhere, err := filtered()
	return bridge, link.NeedsFlag(bridge, b.Families, everywhere), err
}

// checkPorts returns an error for an isolated bridge whose containers are kept
// apart neither by the rules nor by the bridge.
func checkPorts(rs policy.RuleSet) error {
	filtered := sync.OnceValues(link.Filtered)
	for _, b := range rs.Bridges {
		if b.IngressPolicy != policy.Isolated {
			continue
		}
		bridge, needed, err := needsFlag(b, filtered)
		if errors.Is(err, link.ErrNotFound) {
			return diagnosis.BridgeGone(b.Name)
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
