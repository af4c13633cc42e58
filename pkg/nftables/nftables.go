// SPDX-License-Identifier: Apache-2.0

// Package nftables keeps the rule set in a table of its own, "inet
// cni_firewall", over netlink; no program is run, and no other table is touched.
//
// The traffic meant is what the host forwards between its interfaces: both base
// chains hang on the hook forward, the isolation ahead of what is accepted. The
// rules are always the same few. Bridges and containers are elements of sets,
// which the kernel finds by hash, so that neither a packet nor a call costs more
// where there are more of them.
//
// Each call reads the table, compares in memory, and writes what is missing in
// one transaction, or nothing. The kernel takes it only if no table has changed
// since the reading; else it is planned anew.
package nftables

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Errors that callers tell apart.
var (
	// ErrUnsupported says that the kernel has no nf_tables.
	ErrUnsupported = errors.New("the kernel has no nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET)")

	// ErrBusy says that other programs changed their tables all the time.
	ErrBusy = errors.New("other programs change their nftables all the time")

	// ErrForeign says that the table is somebody else's.
	ErrForeign = errors.New("table inet " + tableName + " is not this plugin's: rename or delete it")
)

var errNotRead = errors.New("table inet " + tableName + " could not be read")

// State is what the table held when it was read. Its methods expect that no
// other call of this plugin writes meanwhile; that other programs do is taken
// care of.
type State struct {
	conn    *conn
	table   *table // nil where it was not read
	changed map[memberKey]bool
}

type memberKey struct{ set, key string }

// Supported returns nil if the kernel has nf_tables, and else an error that
// wraps ErrUnsupported, or says why it could not be asked.
func Supported() error {
	n, err := open()
	if err == nil {
		err = newConn(n).ask(func(answer) error { return nil }, request{kind: unix.NFT_MSG_GETGEN})
		_ = unix.Close(int(n))
	}
	return explained(err)
}

// explained puts into words what the kernel says by a number.
func explained(err error) error {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP),
		errors.Is(err, unix.EINVAL): // nfnetlink's answer where no module serves nf_tables
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("asking for nftables needs the capability CAP_NET_ADMIN: %w", err)
	case err != nil:
		return fmt.Errorf("asking for nftables: %w", err)
	}
	return nil
}

// Read reads the table.
func Read() (*State, error) {
	n, err := open()
	if err != nil {
		return &State{}, explained(err)
	}
	return read(newConn(n))
}

// read leaves the socket open until the process ends: closing it after a
// deletion waits for the kernel.
func read(c *conn) (*State, error) {
	t, err := c.read()
	if err != nil {
		return &State{}, explained(err)
	}
	return &State{conn: c, table: t, changed: map[memberKey]bool{}}, nil
}

// Families returns both, for one table has them, or none where it was not read.
func (s *State) Families() policy.Families {
	if s.table == nil {
		return 0
	}
	return policy.BothFamilies
}

// Check returns an error that names the first thing in which the table differs
// from a rule set.
func (s *State) Check(rs policy.RuleSet) error {
	if s.table == nil {
		return errNotRead
	}
	all := members(rs)
	if len(all) == 0 && !s.table.foreign() {
		return nil
	}
	p, err := s.missing(rs.AdminChains, all)
	if err != nil {
		return err
	}
	if len(p.changes) > 0 {
		return fmt.Errorf("table inet %s: %s", tableName, p.changes[0].why)
	}
	return nil
}

func (s *State) missing(adminChains []string, all []member) (plan, error) {
	if s.table.foreign() {
		return plan{}, ErrForeign
	}
	if err := s.conn.find(s.table, all); err != nil {
		return plan{}, explained(err)
	}
	p := missing(s.table, adminChains, all)
	return p, p.err
}

// foreign reports whether the table must not be written to: something is in it,
// and nothing of that is known as the plugin's.
func (t *table) foreign() bool { return t.exists && !t.marked && t.objects > 0 }

// DropsSameBridge reports whether a bridge's containers are kept apart by a
// rule: whether its policy was isolated until now.
func (s *State) DropsSameBridge(bridge string) bool {
	if s.table == nil {
		return false
	}
	// All at once, for it is asked of many; what cannot be listed, Apply tells.
	_ = s.conn.list(s.table, setBlockedWithin)
	name := nameKey(bridge)
	return s.table.has(member{set: setBlockedWithin, key: name + name})
}

// Apply makes the table hold a rule set, in one transaction. After an error,
// Undo takes back what was written.
func (s *State) Apply(rs policy.RuleSet) error {
	if s.table == nil {
		return errNotRead
	}
	return s.make(func() (plan, error) {
		all, err := s.concerned(rs)
		if err != nil || len(all) == 0 {
			return plan{}, err
		}
		return s.missing(rs.AdminChains, all)
	})
}

// concerned returns the members that have to be seen to. Where the rule set is
// about one bridge, and all others are closed as they must be, those are just its
// own.
func (s *State) concerned(rs policy.RuleSet) ([]member, error) {
	if rs.Concerned == "" || !s.table.whole() {
		return members(rs), nil
	}
	others := closing(rs.Bridges, rs.Concerned)
	if err := s.conn.find(s.table, others); err != nil {
		return nil, explained(err)
	}
	own := members(rs.On(rs.Concerned))
	if err := s.conn.find(s.table, own); err != nil {
		return nil, explained(err)
	}
	if slices.ContainsFunc(others, s.table.lacks) || s.table.hasLost(own) {
		return members(rs), nil
	}
	return own, nil
}

// lacks reports whether a member is not as it must be.
func (t *table) lacks(m member) bool { return t.has(m) != m.in }

// hasLost reports whether a bridge's members are some there and some not: then
// somebody emptied a set, which other bridges' are in, too.
func (t *table) hasLost(bridge []member) bool {
	wrong := 0
	there := 0
	for _, m := range bridge {
		switch {
		case m.set == setIPv4 || m.set == setIPv6:
		case t.lacks(m):
			wrong++
		case m.in:
			there++
		}
	}
	return wrong > 0 && there > 0
}

// Undo brings the addresses and bridges of a rule set back to what the table
// held of them before Apply. With keepIsolation, isolation that was not there
// then stays: it should have been.
func (s *State) Undo(rs policy.RuleSet, keepIsolation bool) error {
	var former []member
	for _, m := range absent(rs) {
		was, written := s.changed[memberKey{m.set, m.key}]
		bridges := m.set != setIPv4 && m.set != setIPv6
		if written && !(keepIsolation && bridges && !was) {
			m.in = was
			former = append(former, m)
		}
	}
	if len(former) == 0 {
		return nil
	}
	if err := s.reread(); err != nil {
		return err
	}
	return s.make(func() (plan, error) { return s.without(former) })
}

// Remove takes a rule set's addresses and bridges out of the table, and the
// table with the last of them. What is not there is no error, nor is a table of
// somebody else's.
func (s *State) Remove(rs policy.RuleSet) error {
	if s.table == nil {
		return nil
	}
	return s.make(func() (plan, error) { return s.without(absent(rs)) })
}

// without returns the plan that makes members as they are wanted, and nothing
// else, unless nothing is left then.
func (s *State) without(all []member) (plan, error) {
	if !s.table.exists || s.table.foreign() {
		return plan{}, nil
	}
	if err := s.conn.find(s.table, all); err != nil {
		return plan{}, explained(err)
	}
	if err := s.listWhatDecides(all); err != nil {
		return plan{}, explained(err)
	}
	p := leaving(s.table, all)
	return p, p.err
}

// listWhatDecides lists the sets until one is found that keeps the table: most
// often the bridges', which are fewer than containers.
func (s *State) listWhatDecides(going []member) error {
	for _, l := range sets {
		if err := s.conn.list(s.table, l.name); err != nil {
			return err
		}
		if s.table.left(l.name, going) > 0 {
			return nil
		}
	}
	return nil
}

// make commits a plan. One that lost against another program is made anew.
func (s *State) make(planFor func() (plan, error)) error {
	const attempts = 100
	for attempt := range attempts {
		p, err := planFor()
		if err != nil || len(p.changes) == 0 {
			return err
		}
		s.note(p)
		err = s.conn.commit(s.table.generation, p.requests())
		switch {
		case err == nil && !s.table.dormant:
			return nil
		case err == nil || errors.Is(err, unix.ERESTART): // at once: the other one is done
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			time.Sleep(time.Duration(min(attempt, 20)) * time.Millisecond)
		default:
			return p.refused(err)
		}
		if err := s.reread(); err != nil {
			return err
		}
	}
	return ErrBusy
}

// note remembers how members were before the first write. It is done ahead of
// it, for of a write that is never answered nobody knows whether it was done.
func (s *State) note(p plan) {
	for _, c := range p.changes {
		k := memberKey{c.member.set, c.member.key}
		if _, noted := s.changed[k]; !noted && k.set != "" {
			s.changed[k] = !c.member.in
		}
	}
}

func (s *State) reread() error {
	t, err := s.conn.read()
	if err != nil {
		return explained(err)
	}
	s.table = t
	return nil
}

func (p plan) requests() []request {
	list := make([]request, len(p.changes))
	for i, c := range p.changes {
		list[i] = c.request
	}
	return list
}

// refused says which change the kernel did not take.
func (p plan) refused(err error) error {
	var r refusal
	if errors.As(err, &r) && r.index >= 0 && r.index < len(p.changes) {
		return fmt.Errorf("writing table inet %s: %s: %w", tableName, p.changes[r.index].why, err)
	}
	return fmt.Errorf("writing table inet %s: %w", tableName, err)
}
