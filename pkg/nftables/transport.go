// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is the boundary to the kernel.
type socket interface {
	send([]byte) error
	receive(buffer []byte) (int, error)
	renew()
}

// replyTimeout bounds the wait for a reply. The kernel holds the lock of
// nf_tables while it takes another program's transaction.
const replyTimeout = 10 * time.Second

// netlinkSocket is a socket to nf_tables in the process's network namespace.
type netlinkSocket struct{ fd int }

func openSocket() (*netlinkSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(replyTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		// Without it, an error brings back the whole message that it is about.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	bindOwnPort(fd)
	return &netlinkSocket{fd}, err
}

// A netlink port tells who made a change. By itself, the kernel gives the number of the
// process to its first socket, and arbitrary negative numbers to others
// (netlink_autobind). The plugin's ports have the number of the process (PID_MAX_LIMIT),
// that of the socket, and a mark of their own above both, so that Watch knows the
// plugin's changes even after the process has ended.
const (
	pidBits    = 22
	socketBits = 6
	ownMark    = 0b0111
)

// bindOwnPort gives a socket the first port of the plugin's that is free. Without one,
// the kernel chooses a port.
func bindOwnPort(fd int) {
	for number := range uint32(1 << socketBits) {
		port := (ownMark<<socketBits|number)<<pidBits | uint32(os.Getpid())
		if !errors.Is(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}), unix.EADDRINUSE) {
			return
		}
	}
}

// ownerOf returns the number of the process that a port is of, or 0 if that is unknown,
// and whether the process is the plugin.
func ownerOf(port uint32) (process int, isOwn bool) {
	isOwn = port>>(pidBits+socketBits) == ownMark
	if !isOwn && port>>pidBits > 0 {
		return 0, false
	}
	return int(port & (1<<pidBits - 1)), isOwn
}

// send first enlarges the send buffer if the message would not fit. A restore of
// a thousand containers is larger than the default.
func (n *netlinkSocket) send(b []byte) error {
	const usual = 64 << 10 // well below net.core.wmem_default
	if len(b) > usual {
		size := 2 * len(b)
		if unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) != nil {
			_ = unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size)
		}
	}
	return unix.Sendto(n.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (n *netlinkSocket) receive(buffer []byte) (int, error) {
	for {
		length, _, flags, _, err := unix.Recvmsg(n.fd, buffer, nil, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, fmt.Errorf("no reply within %s: %w", replyTimeout, os.ErrDeadlineExceeded)
		case err == nil && flags&unix.MSG_TRUNC != 0:
			return 0, errMalformed
		}
		return length, err
	}
}

// renew opens another socket, and closes this one beside whatever the call does next:
// after a deletion, closing takes an RCU grace period (nft_rcv_nl_event), some 10 ms.
func (n *netlinkSocket) renew() {
	next, err := openSocket()
	if err != nil {
		return // then the end of the process waits
	}
	old := n.fd
	n.fd = next.fd
	go func() { _ = unix.Close(old) }()
}

// conn queries nf_tables, and commits transactions.
type conn struct {
	socket
	sequence uint32 // of the last message
	buffer   []byte
}

// newConn returns a connection over a socket. The buffer has room for any message
// of a dump: they have at most 32 KiB (NLMSG_GOODSIZE, doubled by netlink_dump).
func newConn(s socket) *conn { return &conn{socket: s, buffer: make([]byte, 64<<10)} }

// reply is a message of the kernel.
type reply struct {
	index  int // of the request that it answers
	family byte
	attrs  []byte
}

// errInterrupted says that another program changed a table during a dump.
var errInterrupted = errors.New("another program changed nftables meanwhile")

// query sends requests, and calls do for each reply. Only the last request may be
// a dump. A request for something that does not exist has no reply and is no
// error. Errors of the kernel are a syscall.Errno.
func (c *conn) query(do func(reply) error, requests ...request) error {
	var b []byte
	first := c.sequence + 1
	for _, r := range requests {
		c.sequence++
		r.flags |= unix.NLM_F_ACK
		b = r.append(b, c.sequence)
	}
	if err := c.send(b); err != nil {
		return err
	}
	return c.receiveUntil(first, func(i int, m syscall.NetlinkMessage) (done bool, err error) {
		ended, err := parseReply(i, m, do)
		return ended && i == len(requests)-1, err
	})
}

// parseReply calls do with a reply. It reports whether the message ended the
// replies to a request.
func parseReply(i int, m syscall.NetlinkMessage, do func(reply) error) (ended bool, err error) {
	switch {
	case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
		return false, errInterrupted
	case m.Header.Type == unix.NLMSG_DONE, m.Header.Type == unix.NLMSG_ERROR:
		if err := errnoOf(m.Data); !errors.Is(err, unix.ENOENT) {
			return true, err // for all requests: after EPERM the kernel answers no other
		}
		return true, nil
	case len(m.Data) < 4:
		return false, errMalformed
	}
	return false, do(reply{i, m.Data[0], m.Data[4:]})
}

// commit sends requests as one transaction. The kernel takes all of them or none,
// and none if its tables have another generation than the given one. The error is
// a refusal.
func (c *conn) commit(generation uint32, requests []request) error {
	err := c.write(generation, requests)
	if err == nil && slices.ContainsFunc(requests, request.deletes) {
		c.renew()
	}
	return err
}

// write is commit for a call that goes on to write to tables, or ends: the kernel would
// have the next transaction wait for the old socket.
func (c *conn) write(generation uint32, requests []request) error {
	begin := c.sequence + 1
	b := c.encodeTransaction(generation, requests)
	c.sequence++
	b = appendMessage(b, unix.NFNL_MSG_BATCH_END, 0, c.sequence, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	return c.transact(begin, b, len(requests))
}

// try has the kernel check requests as commit does, and take none. Without an end, the
// kernel undoes a transaction (nfnetlink_rcv_batch).
func (c *conn) try(generation uint32, requests []request) error {
	begin := c.sequence + 1
	return c.transact(begin, c.encodeTransaction(generation, requests), len(requests))
}

// transact sends a transaction of some requests, and returns the first error that the
// kernel has for one of them.
func (c *conn) transact(begin uint32, transaction []byte, requests int) error {
	if err := c.send(transaction); err != nil {
		return err
	}
	var refused error
	err := c.receiveUntil(begin, func(i int, m syscall.NetlinkMessage) (done bool, err error) {
		if m.Header.Type != unix.NLMSG_ERROR {
			return false, nil
		}
		if err := errnoOf(m.Data); err != nil && refused == nil {
			refused = refusal{i - 1, err}
		}
		// If the kernel refuses the whole transaction, it answers only the beginning.
		return i == 0 || i == requests, nil
	})
	return cmp.Or(err, refused)
}

// encodeTransaction puts requests behind a beginning. The kernel
// reports the error of each request, but a success only if it is asked to: the
// last request asks.
func (c *conn) encodeTransaction(generation uint32, requests []request) []byte {
	c.sequence++
	b := appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, c.sequence, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES,
		attrUint32(unix.NFNL_BATCH_GENID, generation))
	for i, r := range requests {
		if i == len(requests)-1 {
			r.flags |= unix.NLM_F_ACK
		}
		c.sequence++
		b = r.append(b, c.sequence)
	}
	return b
}

// refusal is the kernel's error for one request of a transaction, or for all of
// it (index -1).
type refusal struct {
	index int
	errno error
}

func (r refusal) Error() string { return r.errno.Error() }

func (r refusal) Unwrap() error { return r.errno }

// handler handles a reply to the request with index i. It is done after the last.
type handler func(i int, m syscall.NetlinkMessage) (done bool, err error)

// receiveUntil calls do for each reply until it is done. See receiveOnce.
func (c *conn) receiveUntil(first uint32, do handler) error {
	for {
		if done, err := c.receiveOnce(first, do); done || err != nil {
			return err
		}
	}
}

// receiveOnce receives one datagram. It calls do with each message that answers a
// request, and with the request's index: its sequence number less the first one.
// Other messages are late replies to earlier requests.
func (c *conn) receiveOnce(first uint32, do handler) (bool, error) {
	n, err := c.receive(c.buffer)
	if err != nil {
		return false, err
	}
	messages, err := syscall.ParseNetlinkMessage(c.buffer[:n])
	if err != nil {
		return false, errMalformed
	}
	finished := false
	for _, m := range messages {
		if m.Header.Seq < first || m.Header.Seq > c.sequence {
			continue
		}
		done, err := do(int(m.Header.Seq-first), m)
		if err != nil {
			return false, err
		}
		finished = finished || done
	}
	return finished, nil
}

// errnoOf parses what NLMSG_ERROR and NLMSG_DONE begin with: a negative error
// number, or zero.
func errnoOf(body []byte) error {
	if len(body) < 4 {
		return errMalformed
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
