// SPDX-License-Identifier: Apache-2.0

// Package nftables keeps the rule set in a table of its own, "inet
// cni_firewall", over netlink; no program is run, and no other table is touched.
//
// The traffic meant is what the host forwards between its interfaces: both base
// chains hang on the hook forward, the isolation ahead of what is accepted. The
// rules are always the same few. Bridges and containers are elements of sets,
// which the kernel finds by hash, so that a packet costs no more where there are
// more of them, and a call little more.
//
// Each call reads the table, compares in memory, and writes what is missing in
// one transaction, or nothing. The kernel takes it only if no table has changed
// since the reading; else it is planned anew.
package nftables

import (
	"errors"
	"fmt"
	"sync"

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

// Snapshot is what the table held when it was read. Its methods expect that no
// other call of this plugin writes meanwhile; that other programs do is taken
// care of.
type Snapshot struct {
	conn    *conn
	table   *table // nil where it was not read
	changed map[memberKey]bool
}

type memberKey struct{ set, key string }

// Driver keeps rule sets in the table. It opens its one connection when it is first
// asked.
type Driver struct {
	open func() (*Conn, error)
}

var _ policy.Driver = (*Driver)(nil)

// NewDriver returns the driver of the network namespace in which the process is.
func NewDriver() *Driver { return &Driver{sync.OnceValues(Open)} }

// Installed returns all of the families, or none with an error that wraps
// ErrUnsupported. Another reason why the kernel cannot be asked, Read tells.
func (d *Driver) Installed(f policy.Families) (policy.Families, error) {
	if _, err := d.open(); errors.Is(err, ErrUnsupported) {
		return 0, err
	}
	return f, nil
}

// Read reads the table, which is that of both families; of none, nothing.
func (d *Driver) Read(f policy.Families) (policy.Snapshot, error) {
	if f == 0 {
		return &Snapshot{}, nil
	}
	c, err := d.open()
	if err != nil {
		return &Snapshot{}, err
	}
	return c.Read()
}

// Conn is a connection to nf_tables, of the network namespace in which the
// process is.
type Conn struct{ conn *conn }

// Open connects to the kernel. The error wraps ErrUnsupported where it has no
// nf_tables. The connection stays open until the process ends: closing it after
// a deletion waits for the kernel.
func Open() (*Conn, error) {
	n, err := open()
	if err != nil {
		return nil, explained(err)
	}
	c := newConn(n)
	return &Conn{c}, explained(c.ask(func(answer) error { return nil }, request{kind: unix.NFT_MSG_GETGEN}))
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
func (c *Conn) Read() (*Snapshot, error) { return read(c.conn) }

func read(c *conn) (*Snapshot, error) {
	t, err := c.read()
	if err != nil {
		return &Snapshot{}, explained(err)
	}
	return &Snapshot{conn: c, table: t, changed: map[memberKey]bool{}}, nil
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

func (s *Snapshot) missing(adminChains []string, all []member) (plan, error) {
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
func (s *Snapshot) DropsSameBridge(bridge string) bool {
	if s.table == nil {
		return false
	}
	// All at once, for it is asked of many; what cannot be listed, Apply tells.
	_ = s.conn.list(s.table, setBlockedWithin)
	name := nameKey(bridge)
	return s.table.has(member{set: setBlockedWithin, key: name + name})
}

// CheckForeign is Check: upstream's plugin writes nothing here.
func (s *Snapshot) CheckForeign(rs policy.RuleSet) error { return s.Check(rs) }

// Leftovers returns nil: all that is removed is the plugin's own.
func (s *Snapshot) Leftovers() error { return nil }

// Isolated returns none: other plugins isolate by iptables.
func (s *Snapshot) Isolated() []policy.Bridge { return nil }

// RemoveForeign has nothing to remove.
func (s *Snapshot) RemoveForeign() error { return nil }
