// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Sources is firewalld's snapshot: the sources of its zones. Of a rule set it keeps
// the addresses; zones do not isolate.
type Sources struct {
	conn      *Conn // nil where firewalld is absent
	families  policy.Families
	added     []source // what Apply added, or may have added
	leftovers []error
}

var errNotAsked = errors.New("firewalld could not be asked")

type source struct {
	zone    string
	address netip.Prefix
}

// Sources returns the sources of families. It asks nothing yet.
func (c *Conn) Sources(families policy.Families) *Sources {
	return &Sources{conn: c, families: families}
}

// Families returns the families that were asked for, or none where firewalld is
// absent.
func (s *Sources) Families() policy.Families { return s.families }

// Guarded returns nothing: zones guard no addresses.
func (s *Sources) Guarded() []string { return nil }

// DropsSameBridge returns false: zones do not isolate.
func (s *Sources) DropsSameBridge(string) bool { return false }

// each calls a function for every address. After a refusal it goes on. It stops after
// any other error, which all other addresses would meet as well.
func (s *Sources) each(rs policy.RuleSet, do func(zone string, address netip.Prefix) error) error {
	if s.conn == nil && len(rs.Addresses) > 0 {
		return errNotAsked
	}
	var errs []error
	for _, address := range rs.Addresses {
		err := do(rs.Zones[address], address)
		errs = append(errs, err)
		if err != nil && !isRefusal(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// Check returns an error that names the first address that is not in its zone. Where
// the zone is unknown, any zone will do. One question tells the zones of all sources:
// firewalld answers it sooner than two questions about single ones, even if it has 2,000.
func (s *Sources) Check(rs policy.RuleSet) error {
	if len(rs.Addresses) == 0 {
		return nil
	}
	if s.conn == nil {
		return errNotAsked
	}
	zones, err := s.conn.activeSources()
	if err != nil {
		return err
	}
	for _, address := range rs.Addresses {
		zone, want := zones[address.String()], rs.Zones[address]
		if err := difference(address, zone, want); err != nil {
			return cmp.Or(s.noSuchZone(want, address), err)
		}
	}
	return nil
}

// noSuchZone returns an error, which names the zones that there are, where firewalld has
// no zone of this name. Without a name there is none.
func (s *Sources) noSuchZone(zone string, address netip.Prefix) error {
	if zone == "" {
		return nil
	}
	_, err := s.conn.querySource(zone, address)
	return err
}

// difference returns an error where an address is not in the zone that is wanted.
func difference(address netip.Prefix, zone, want string) error {
	switch {
	case zone == "" && want == "":
		return fmt.Errorf("firewalld: source %s is missing: it is in no zone", address)
	case zone == "":
		return fmt.Errorf("firewalld: zone %q lacks source %s, which is in no zone", want, address)
	case want != "" && zone != want:
		return fmt.Errorf("firewalld: zone %q lacks source %s, which is in zone %q", want, address, zone)
	}
	return nil
}

// Apply makes every address a source of its zone. The isolation must be in force
// before. After an error, Rollback removes what was added.
func (s *Sources) Apply(rs policy.RuleSet, _ []string) error {
	return s.each(rs, func(zone string, address netip.Prefix) error {
		added, err := s.conn.addSource(zone, address)
		if added || err != nil && !changedNothing(err) {
			s.added = append(s.added, source{zone, address})
		}
		return err
	})
}

// changedNothing reports whether a call that failed is known to have added no source.
// A call that was not answered may have added one.
func changedNothing(err error) bool {
	return hasCode(err, "ZONE_CONFLICT", "INVALID_ZONE") || errors.Is(err, ErrNotAuthorized)
}

// Rollback removes the sources that Apply added, or may have added.
func (s *Sources) Rollback(policy.RuleSet, bool) error {
	var errs []error
	for _, a := range s.added {
		errs = append(errs, s.conn.removeSource(a.zone, a.address))
	}
	return errors.Join(errs...)
}

// Remove removes the addresses of a rule set from their zones. An address that is in
// another zone by now was moved by somebody; it stays there. See Leftovers.
func (s *Sources) Remove(rs policy.RuleSet) error {
	if s.conn == nil {
		return nil
	}
	return s.each(rs, func(zone string, address netip.Prefix) error {
		err := s.conn.removeSource(zone, address)
		if errors.Is(err, errMoved) {
			s.leftovers = append(s.leftovers, err)
			return nil
		}
		return err
	})
}

// Leftovers returns an error that names what Remove left in other zones.
func (s *Sources) Leftovers() error { return errors.Join(s.leftovers...) }

// Obstacles returns ErrStrict where firewalld drops connections that other programs
// redirect to the containers.
func (s *Sources) Obstacles() policy.Obstacles { return policy.Obstacles{Published: s.strict()} }

func (s *Sources) strict() error {
	if s.conn == nil {
		return nil
	}
	strict, err := s.conn.strictForwardPorts()
	if strict {
		return ErrStrict
	}
	return err
}

// Ready returns nil: zones need no policy.
func (s *Sources) Ready(policy.IngressPolicy) error { return nil }

// CheckForeign is Check: upstream's plugin adds the same sources.
func (s *Sources) CheckForeign(rs policy.RuleSet) error { return s.Check(rs) }

// Held returns none: a zone has sources of other programs, too.
func (s *Sources) Held() (policy.RuleSet, error) { return policy.RuleSet{}, nil }

// RemoveFormer removes nothing: zones are no rules of iptables.
func (s *Sources) RemoveFormer(policy.RuleSet) error { return nil }

// RemoveForeign removes nothing: the standalone plugin adds no sources.
func (s *Sources) RemoveForeign() error { return nil }

// ForeignDrops returns none: firewalld decides.
func (s *Sources) ForeignDrops() (policy.Obstacles, error) { return policy.Obstacles{}, nil }

// RemoveOwn leaves the sources: upstream's plugin has the same.
func (s *Sources) RemoveOwn() error { return nil }
