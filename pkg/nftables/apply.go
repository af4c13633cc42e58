// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Apply makes the table hold a rule set, in one transaction. After an error,
// Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, about []string) error {
	if s.table == nil {
		return errNotRead
	}
	return s.make(func() (plan, error) {
		all, err := s.concerned(rs, about)
		if err != nil || len(all) == 0 {
			return plan{}, err
		}
		return s.missing(rs.AdminChains, all)
	})
}

// concerned returns the members that have to be seen to. Where the rule set is
// about some bridges, and all others are closed as they must be, those are just
// theirs.
func (s *Snapshot) concerned(rs policy.RuleSet, bridges []string) ([]member, error) {
	if len(bridges) == 0 || !s.table.whole() {
		return members(rs), nil
	}
	others := closing(rs.Bridges, bridges)
	if err := s.conn.find(s.table, others); err != nil {
		return nil, explained(err)
	}
	about := rs.On(bridges...)
	own := members(about)
	if err := s.conn.find(s.table, own); err != nil {
		return nil, explained(err)
	}
	if slices.ContainsFunc(others, s.table.lacks) || slices.ContainsFunc(about.Bridges, s.table.hasLost) {
		return members(rs), nil
	}
	return own, nil
}

// lacks reports whether a member is not as it must be.
func (t *table) lacks(m member) bool { return t.has(m) != m.in }

// hasLost reports whether a bridge's members are some there and some not: then
// somebody emptied a set, which other bridges' are in, too.
func (t *table) hasLost(b policy.Bridge) bool {
	wrong := 0
	there := 0
	for _, m := range membersOf(b) {
		switch {
		case t.lacks(m):
			wrong++
		case m.in:
			there++
		}
	}
	return wrong > 0 && there > 0
}
