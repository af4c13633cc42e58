// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the table held when it was read. Its methods expect that no
// other call of this plugin writes meanwhile; that other programs do is taken
// care of.
type Snapshot struct {
	conn     *conn
	table    *table // nil where it was not read
	previous map[elementKey]bool
}

type elementKey struct{ set, key string }

func read(c *conn) (*Snapshot, error) {
	t, err := c.read()
	if err != nil {
		return &Snapshot{}, queryError(err)
	}
	return &Snapshot{conn: c, table: t, previous: map[elementKey]bool{}}, nil
}

// Families returns both, for one table has them, or none where it was not read.
func (s *Snapshot) Families() policy.Families {
	if s.table == nil {
		return 0
	}
	return policy.BothFamilies
}

// Check returns an error that names the first thing in which the table differs
// from a rule set.
func (s *Snapshot) Check(rs policy.RuleSet) error {
	if s.table == nil {
		return errNotRead
	}
	all := desiredElements(rs)
	if len(all) == 0 && !s.table.isForeign() {
		return nil
	}
	p, err := s.planApply(rs.AdminChains, all)
	if err != nil {
		return err
	}
	if len(p.changes) > 0 {
		return fmt.Errorf("table inet %s: %s", tableName, p.changes[0].why)
	}
	return nil
}

func (s *Snapshot) planApply(adminChains []string, all []element) (transaction, error) {
	if s.table.isForeign() {
		return transaction{}, ErrForeign
	}
	if err := s.conn.lookUp(s.table, all); err != nil {
		return transaction{}, queryError(err)
	}
	p := planApply(s.table, adminChains, all)
	return p, p.err
}

// Apply makes the table hold a rule set, in one transaction. After an error,
// Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, about []string) error {
	if s.table == nil {
		return errNotRead
	}
	return s.commit(func() (transaction, error) {
		all, err := s.scope(rs, about)
		if err != nil || len(all) == 0 {
			return transaction{}, err
		}
		return s.planApply(rs.AdminChains, all)
	})
}

// scope returns the members that have to be seen to. Where the rule set is
// about some bridges, and all others are closed as they must be, those are just
// theirs.
func (s *Snapshot) scope(rs policy.RuleSet, bridges []string) ([]element, error) {
	if len(bridges) == 0 || !s.table.isComplete() {
		return desiredElements(rs), nil
	}
	others := isolatingElements(rs.Bridges, bridges)
	if err := s.conn.lookUp(s.table, others); err != nil {
		return nil, queryError(err)
	}
	about := rs.On(bridges...)
	own := desiredElements(about)
	if err := s.conn.lookUp(s.table, own); err != nil {
		return nil, queryError(err)
	}
	if slices.ContainsFunc(others, s.table.differs) || slices.ContainsFunc(about.Bridges, s.table.hasPart) {
		return desiredElements(rs), nil
	}
	return own, nil
}

// differs reports whether a member is not as it must be.
func (t *table) differs(m element) bool { return t.has(m) != m.present }

// hasPart reports whether a bridge's members are some there and some not: then
// somebody emptied a set, which other bridges' are in, too.
func (t *table) hasPart(b policy.Bridge) bool {
	wrong := 0
	there := 0
	for _, m := range bridgeElements(b) {
		switch {
		case t.differs(m):
			wrong++
		case m.present:
			there++
		}
	}
	return wrong > 0 && there > 0
}

// DropsSameBridge reports whether a bridge's containers are kept apart by a
// rule: whether its policy was isolated until now.
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	if s.table == nil {
		return false
	}
	// All at once, for it is asked of many; what cannot be listed, Apply tells.
	_ = s.conn.listSet(s.table, setBlockedWithin)
	name := interfaceKey(bridge)
	return s.table.has(element{set: setBlockedWithin, key: name + name})
}

// Obstacles returns an error that joins a ForwardBlocker for each chain that is one.
// An accept holds in its own base chain only: the packet still passes all others
// on the hook, and any of them can drop it.
func (s *Snapshot) Obstacles() policy.Obstacles {
	return policy.Obstacles{Forwarding: s.forwardBlockers()}
}

// CheckForeign is Check: upstream's plugin writes nothing here.
func (s *Snapshot) CheckForeign(rs policy.RuleSet) error { return s.Check(rs) }

// Leftovers returns nil: all that is removed is the plugin's own.
func (s *Snapshot) Leftovers() error { return nil }

// Isolated returns none: other plugins isolate by iptables.
func (s *Snapshot) Isolated() []policy.Bridge { return nil }

// RemoveForeign has nothing to remove.
func (s *Snapshot) RemoveForeign() error { return nil }
