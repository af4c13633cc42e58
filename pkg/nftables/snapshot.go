// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Snapshot is what the table held when it was read. Its methods expect that no
// other call of this plugin writes meanwhile. Other programs may.
type Snapshot struct {
	conn     *conn
	*state                       // nil if it was not read
	previous map[elementKey]bool // whether an element was present before the first write to it
	origins  []origin            // of what was applied or checked last
}

func read(c *conn) (*Snapshot, error) {
	read, err := c.read()
	if err != nil {
		return &Snapshot{}, queryError(err)
	}
	return &Snapshot{conn: c, state: read, previous: map[elementKey]bool{}}, nil
}

func (s *Snapshot) reread() error {
	read, err := s.conn.read()
	if err != nil {
		return queryError(err)
	}
	s.state = read
	return nil
}

// Families returns both, which share one table, or none if it was not read.
func (s *Snapshot) Families() policy.Families {
	if s.state == nil {
		return 0
	}
	return policy.BothFamilies
}

// needsRead returns an error where the table was not read, and a rule set needs it. One
// that says nothing (of containers without addresses) has no family to read the table
// for.
func (s *Snapshot) needsRead(rs policy.RuleSet) error {
	if s.state == nil && !rs.IsEmpty() {
		return errNotRead
	}
	return nil
}

// Check returns an error that names the first difference between the table and
// a rule set.
func (s *Snapshot) Check(rs policy.RuleSet) error {
	if s.state == nil {
		return s.needsRead(rs)
	}
	s.origins = originsOf(rs)
	desired := desiredElements(rs)
	if len(desired.all()) == 0 && !s.packets.isForeign() {
		return nil
	}
	tx, err := s.planApply(rs.AdminChains, desired)
	if err != nil {
		return err
	}
	if len(tx.changes) > 0 {
		return errors.New(tx.changes[0].difference())
	}
	return nil
}

// Apply makes the table hold a rule set, in one transaction. After an error,
// Rollback undoes what was written.
func (s *Snapshot) Apply(rs policy.RuleSet, about []string) error {
	if s.state == nil {
		return s.needsRead(rs)
	}
	s.origins = originsOf(rs)
	return s.commit(func() (transaction, error) {
		desired, err := s.scope(rs, about)
		if err != nil || len(desired.all()) == 0 {
			return transaction{}, err
		}
		return s.planApply(rs.AdminChains, desired)
	})
}

// scope returns the elements that a call compares. They are those of the bridges
// that the call is about, as long as every other bridge is isolated as it must
// be. Otherwise they are all.
func (s *Snapshot) scope(rs policy.RuleSet, about []string) (elements, error) {
	if len(about) == 0 || !s.packets.isComplete() {
		return desiredElements(rs), nil
	}
	part := rs.On(about...)
	own, others := desiredElements(part), isolatingElements(rs, about)
	if err := s.lookUpParts(others, own); err != nil {
		return elements{}, queryError(err)
	}
	if slices.ContainsFunc(others.packets, s.packets.differs) || slices.ContainsFunc(others.frames, s.frames.differs) {
		return desiredElements(rs), nil
	}
	strict := stricter(own.packets, others.packets)
	if slices.ContainsFunc(part.Bridges, func(b policy.Bridge) bool { return s.packets.hasPart(b, strict) }) {
		return desiredElements(rs), nil
	}
	return own, nil
}

// lookUpParts looks up the elements of other bridges, and those of a call's own.
func (s *Snapshot) lookUpParts(others, own elements) error {
	if err := s.conn.matchForged(s.packets); err != nil {
		return err
	}
	return errors.Join(
		s.conn.lookUp(s.packets, others.packets), s.conn.lookUp(s.packets, own.packets),
		s.conn.lookUp(s.frames, others.frames), s.conn.lookUp(s.frames, own.frames))
}

// hasPart reports whether the table has some elements of a bridge, and lacks others that
// it must have. Another program has then emptied a set, and other bridges are missing
// in it too.
func (t *table) hasPart(b policy.Bridge, desired map[elementKey]bool) bool {
	wrong, there := false, false
	for _, e := range bridgeElements(b) {
		e.present = desired[e.id()]
		wrong = wrong || t.differs(e)
		there = there || e.present && t.has(e)
	}
	return wrong && there
}

// DropsSameBridge reports whether a rule separates the containers of a bridge:
// whether its policy was isolated until now.
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	if s.state == nil {
		return false
	}
	// Callers ask about many bridges, so the whole set is listed. If that fails,
	// Apply reports it.
	_ = s.conn.listSet(s.packets, setBlockedWithin)
	name := interfaceKey(bridge)
	return s.packets.has(element{set: setBlockedWithin, key: name + name})
}

// Guarded returns the interfaces whose addresses could be forged before Apply.
func (s *Snapshot) Guarded() []string {
	var names []string
	for k, present := range s.previous {
		if k.set == chainForged && !present {
			names = append(names, interfaceName(k.key))
		}
	}
	return names
}

// Ready returns an error where the kernel would refuse the table, or there is one of
// another program. Where there is one of the plugin's, the kernel took it. Where there
// is none, the kernel is asked, in a transaction that it does not commit.
func (s *Snapshot) Ready(p policy.IngressPolicy) error {
	if s.state == nil {
		return errNotRead
	}
	for attempt := range maxAttempts {
		tx, err := s.planReady(p)
		if err != nil || len(tx.changes) == 0 {
			return err
		}
		err = s.conn.try(s.generation, tx.requests())
		if err == nil {
			return nil
		}
		if !waitForRetry(err, attempt) {
			return tx.refused(err)
		}
		if err := s.reread(); err != nil {
			return err
		}
	}
	return ErrBusy
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

// RemoveOwn removes both tables, except one of another program, or with rules of the
// operator's.
func (s *Snapshot) RemoveOwn() error {
	if s.state == nil {
		return errNotRead
	}
	return s.commit(func() (transaction, error) {
		var tx transaction
		for _, t := range s.tables() {
			if t.exists && !t.isForeign() && t.hasOnlyOwnObjects() {
				tx.join(t, transaction{changes: []change{{why: "the plugin retires", request: deleteTable()}}})
			}
		}
		return tx, nil
	})
}

// RemoveFormer has nothing to remove: there is one nf_tables.
func (s *Snapshot) RemoveFormer(policy.RuleSet) error { return nil }

// RemoveForeign has nothing to remove: other plugins isolate by iptables.
func (s *Snapshot) RemoveForeign() error { return nil }
