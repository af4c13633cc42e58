// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Sources is what a call does about the sources of zones. Of a rule set it sees
// to the addresses alone.
type Sources struct {
	conn      *Conn // nil where firewalld was not asked
	families  policy.Families
	added     []source // that Apply may have added
	leftovers []error
}

var errNotAsked = errors.New("firewalld could not be asked")

type source struct {
	zone    string
	address netip.Prefix
}

// Sources returns the sources of families. Nothing is read before it is needed.
func (c *Conn) Sources(families policy.Families) *Sources {
	return &Sources{conn: c, families: families}
}

// Families returns the families that were asked for, or none where firewalld was
// not.
func (s *Sources) Families() policy.Families { return s.families }

// DropsSameBridge reports that no rule keeps the containers of a bridge apart:
// zones do not isolate.
func (s *Sources) DropsSameBridge(string) bool { return false }

// each does something with every address. After a refusal it goes on with the
// others; an error of another kind would befall them, too.
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

// Check returns an error that names the first address that is not in its zone.
// Of one whose zone is not known it wants just that there is one.
func (s *Sources) Check(rs policy.RuleSet) error {
	if s.conn == nil && len(rs.Addresses) > 0 {
		return errNotAsked
	}
	zoneOf, err := s.zones(rs)
	if err != nil {
		return err
	}
	for _, address := range rs.Addresses {
		zone, err := zoneOf(address)
		if err == nil {
			err = difference(address, zone, rs.Zones[address])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// misplaced returns an error where an address is not in the zone that is wanted.
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

// zones returns the function that tells the zone of an address. For a few,
// firewalld is asked for each; for more, once for all.
func (s *Sources) zones(rs policy.RuleSet) (func(netip.Prefix) (string, error), error) {
	const few = 8
	if s.conn != nil && len(rs.Addresses) > few {
		zones, err := s.conn.activeSources()
		return func(address netip.Prefix) (string, error) { return zones[address.String()], nil }, err
	}
	return func(address netip.Prefix) (string, error) {
		if zone := rs.Zones[address]; zone != "" {
			is, err := s.conn.querySource(zone, address)
			if is || err != nil {
				return zone, err
			}
		}
		return s.conn.zoneOfSource(address)
	}, nil
}

// Apply makes every address a source of its zone. After an error, Rollback removes
// what was added.
func (s *Sources) Apply(rs policy.RuleSet, _ []string) error {
	return s.each(rs, func(zone string, address netip.Prefix) error {
		added, err := s.conn.addSource(zone, address)
		// What came of a call that failed, or was never answered, nobody knows.
		if added || err != nil && !hasCode(err, "ZONE_CONFLICT", "INVALID_ZONE") && !errors.Is(err, ErrNotAuthorized) {
			s.added = append(s.added, source{zone, address})
		}
		return err
	})
}

// Rollback removes what Apply added of a rule set.
func (s *Sources) Rollback(policy.RuleSet, bool) error {
	var errs []error
	for _, a := range s.added {
		errs = append(errs, s.conn.removeSource(a.zone, a.address))
	}
	return errors.Join(errs...)
}

// Remove removes the addresses of a rule set from their zones. One that is in
// another zone by now is somebody else's, and left there: see Leftovers.
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

// Leftovers returns an error that says what Remove left in other zones.
func (s *Sources) Leftovers() error { return errors.Join(s.leftovers...) }

// Obstacles returns ErrStrict where firewalld drops what other programs redirect to
// the containers.
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

// CheckForeign is Check: upstream's plugin adds the same sources.
func (s *Sources) CheckForeign(rs policy.RuleSet) error { return s.Check(rs) }

// Isolated returns none: zones do not isolate.
func (s *Sources) Isolated() []policy.Bridge { return nil }

// RemoveForeign has nothing to remove.
func (s *Sources) RemoveForeign() error { return nil }
