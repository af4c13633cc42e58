// SPDX-License-Identifier: Apache-2.0

// Package conntrack deletes connections from the kernel's connection tracking.
//
// A connection outlives the container that it led to: a UDP flow to a published port
// goes on being redirected as long as its client sends, to whoever has the address by
// then. It passes the isolation, as it passed for the previous one.
//
// A connection has two ends, whatever is translated between them: the source of its
// original direction, and the source of the replies. It is deleted with either.
//
// The kernel finds a connection by its whole tuple only. To find those of an address,
// it walks a table that all network namespaces share: 9 ms for the usual 262,144
// buckets, and 2.5 µs for each connection that it reports (Linux 6.18). So where this
// network namespace has no connection, nothing is asked, and where it has many, the
// kernel reports only those of the address: a walk for each of its ends.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel tracks the connections of the process's network namespace.
type Kernel struct{}

// aWalk is how many connections the kernel reports in the time that one more walk
// takes. Measured: one walk that reports all is as quick as two at 4,000 connections,
// as four at 15,000, as six at 31,000.
const aWalk = 5000

// Forget deletes every connection that has an address at one of its ends, redirected
// ones too. redirected reports whether there was one that the host had redirected
// (DNAT). A kernel without connection tracking has none.
func (Kernel) Forget(addresses []netip.Addr) (redirected bool, err error) {
	return forget(addresses, func(flow) bool { return true })
}

// ForgetOpened deletes the connections that an address opened, or somebody in its name.
// Those that others opened to it stay: the kernel takes the next packet of a connection
// that it does not know for the first one, whoever opened it (nf_conntrack_tcp_loose), and
// what comes back for a reply. One in a flowtable goes all the same: it meets no rule.
func (Kernel) ForgetOpened(addresses []netip.Addr) error {
	opened := map[filter]bool{}
	for _, a := range addresses {
		opened[filter{a, nl.CTA_TUPLE_ORIG}] = true
	}
	_, err := forget(addresses, func(f flow) bool { return f.status&statusOffload != 0 || f.isOf(opened) })
	return err
}

// forget deletes those connections of addresses for which a function is true.
func forget(addresses []netip.Addr, is func(flow) bool) (redirected bool, err error) {
	count, err := tracked()
	if err != nil || count == 0 || len(addresses) == 0 {
		return false, err
	}
	c, err := connect()
	if err != nil {
		return false, fmt.Errorf("opening a socket for connection tracking: %w", err)
	}
	defer c.close()
	found, err := c.find(addresses, count)
	if err != nil {
		err = fmt.Errorf("listing connections: %w", err)
	}
	errs := []error{err}
	for _, f := range slices.DeleteFunc(found, func(f flow) bool { return !is(f) }) {
		redirected = redirected || f.status&statusDNAT != 0
		errs = append(errs, c.delete(f))
	}
	return redirected, errors.Join(errs...)
}

// conn is the socket of one call.
type conn struct{ sockets map[int]*nl.SocketHandle }

func connect() (conn, error) {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER) // to no group
	if err == nil {
		err = errors.Join(s.SetSendTimeout(&nl.SocketTimeoutTv), s.SetReceiveTimeout(&nl.SocketTimeoutTv))
	}
	return conn{map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}}, err
}

func (c conn) close() { c.sockets[unix.NETLINK_NETFILTER].Close() }

func (c conn) request(message, flags int, family uint8) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|message, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	req.Sockets = c.sockets
	return req
}

// find returns the connections of addresses. After an error it returns those that it
// found; one may be there twice.
func (c conn) find(addresses []netip.Addr, count int) (found []flow, err error) {
	ends := filtersOf(addresses)
	filters := ends
	if count < aWalk*(len(ends)-1) {
		filters = []filter{{}}
	}
	wanted := map[filter]bool{}
	for _, f := range ends {
		wanted[f] = true
	}
	for _, f := range filters {
		if err = c.dump(f, wanted, &found); err != nil {
			break
		}
	}
	return found, err
}

// dump repeats a dump that was interrupted. Up to Linux 6.18 none is.
func (c conn) dump(f filter, wanted map[filter]bool, found *[]flow) error {
	const attempts = 10
	err := error(nl.ErrDumpInterrupted)
	for n := 0; n < attempts && errors.Is(err, nl.ErrDumpInterrupted); n++ {
		err = c.dumpOnce(f, wanted, found)
	}
	return err
}

func (c conn) listing(f filter) *nl.NetlinkRequest {
	req := c.request(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, f.family())
	f.addTo(req)
	return req
}

func (c conn) dumpOnce(f filter, wanted map[filter]bool, found *[]flow) error {
	var malformed error
	err := c.listing(f).ExecuteIter(unix.NETLINK_NETFILTER, 0, func(message []byte) bool {
		flow, err := parse(message)
		if err != nil {
			malformed = err
		}
		// A kernel that knows no filters (before 5.8) reports all connections.
		if err == nil && flow.isOf(wanted) {
			*found = append(*found, flow)
		}
		return true
	})
	return errors.Join(err, malformed)
}

func (c conn) deletion(f flow) *nl.NetlinkRequest {
	req := c.request(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, f.family)
	for _, a := range f.identity {
		req.AddData(a)
	}
	return req
}

// delete deletes a connection. One that has ended meanwhile is no error.
func (c conn) delete(f flow) error {
	_, err := c.deletion(f).Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: it is in a flowtable, and this kernel cannot take it out (Linux 6.4 and 6.1.32 can): "+
			"it passes all rules until it ends", err)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("deleting a connection of %s: %w", f.addresses(), err)
	}
	return nil
}
