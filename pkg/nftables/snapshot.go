// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the table held when it was read. Its methods expect that no
// other call of this plugin writes meanwhile. Other programs may.
type Snapshot struct {
	conn     *conn
	table    *table              // nil if it was not read
	previous map[elementKey]bool // whether an element was present before the first write to it
}

func read(c *conn) (*Snapshot, error) {
	t, err := c.read()
	if err != nil {
		return &Snapshot{}, queryError(err)
	}
	return &Snapshot{conn: c, table: t, previous: map[elementKey]bool{}}, nil
}

func (s *Snapshot) reread() error {
	t, err := s.conn.read()
	if err != nil {
		return queryError(err)
	}
	s.table = t
	return nil
}

// Families returns both, which share one table, or none if it was not read.
func (s *Snapshot) Families() policy.Families {
	if s.table == nil {
		return 0
	}
	return policy.BothFamilies
}

// Check returns an error that names the first difference between the table and
// a rule set.
func (s *Snapshot) Check(rs policy.RuleSet) error {
	if s.table == nil {
		return errNotRead
	}
	elements := desiredElements(rs)
	if len(elements) == 0 && !s.table.isForeign() {
		return nil
	}
	tx, err := s.planApply(rs.AdminChains, elements)
	if err != nil {
		return err
	}
	if len(tx.changes) > 0 {
		return fmt.Errorf("table inet %s: %s", tableName, tx.changes[0].why)
	}
	return nil
}

// Apply makes the table hold a rule set, in one transaction. After an error,
// Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, about []string) error {
	if s.table == nil {
		return errNotRead
	}
	return s.commit(func() (transaction, error) {
		elements, err := s.scope(rs, about)
		if err != nil || len(elements) == 0 {
			return transaction{}, err
		}
		return s.planApply(rs.AdminChains, elements)
	})
}

// scope returns the elements that a call compares. They are those of the bridges
// that the call is about, as long as every other bridge is isolated as it must
// be. Otherwise they are all.
func (s *Snapshot) scope(rs policy.RuleSet, about []string) ([]element, error) {
	if len(about) == 0 || !s.table.isComplete() {
		return desiredElements(rs), nil
	}
	part := rs.On(about...)
	own, others := desiredElements(part), isolatingElements(rs.Bridges, about)
	for _, elements := range [][]element{others, own} {
		if err := s.conn.lookUp(s.table, elements); err != nil {
			return nil, queryError(err)
		}
	}
	if slices.ContainsFunc(others, s.table.differs) || slices.ContainsFunc(part.Bridges, s.table.hasPart) {
		return desiredElements(rs), nil
	}
	return own, nil
}

// hasPart reports whether the table has some elements of a bridge and lacks
// others. Another program has then emptied a set, and other bridges are missing
// in it too.
func (t *table) hasPart(b policy.Bridge) bool {
	wrong, there := false, false
	for _, e := range bridgeElements(b) {
		wrong = wrong || t.differs(e)
		there = there || e.present && t.has(e)
	}
	return wrong && there
}

// DropsSameBridge reports whether a rule separates the containers of a bridge:
// whether its policy was isolated until now.
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	if s.table == nil {
		return false
	}
	// Callers ask about many bridges, so the whole set is listed. If that fails,
	// Apply reports it.
	_ = s.conn.listSet(s.table, setBlockedWithin)
	name := interfaceKey(bridge)
	return s.table.has(element{set: setBlockedWithin, key: name + name})
}

// Obstacles returns an error that joins one ForwardBlocker for each chain that
// blocks forwarding.
func (s *Snapshot) Obstacles() policy.Obstacles {
	return policy.Obstacles{Forwarding: s.forwardBlockers()}
}

// CheckForeign is Check: upstream's plugin writes nothing to nftables.
func (s *Snapshot) CheckForeign(rs policy.RuleSet) error { return s.Check(rs) }

// Leftovers returns nil: the plugin removes only what it made.
func (s *Snapshot) Leftovers() error { return nil }

// Isolated returns none: other plugins isolate by iptables.
func (s *Snapshot) Isolated() []policy.Bridge { return nil }

// RemoveForeign has nothing to remove: other plugins isolate by iptables.
func (s *Snapshot) RemoveForeign() error { return nil }
