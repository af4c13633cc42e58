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

// queryError puts into words what the kernel says by a number.
func queryError(err error) error {
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
	n, err := openSocket()
	if err != nil {
		return nil, queryError(err)
	}
	c := newConn(n)
	return &Conn{c}, queryError(c.query(func(reply) error { return nil }, request{kind: unix.NFT_MSG_GETGEN}))
}

// Read reads the table.
func (c *Conn) Read() (*Snapshot, error) { return read(c.conn) }
