// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// replyTimeout is how long an answer of the kernel's is waited for. It holds the
// lock of nf_tables while another program's transaction is under way.
const replyTimeout = 10 * time.Second

// socket is the boundary to the kernel.
type socket interface {
	send([]byte) error
	receive(buffer []byte) (int, error)
}

// netlinkSocket is a socket to nf_tables, of the network namespace in which the
// process is.
type netlinkSocket int

func openSocket() (netlinkSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	deadline := unix.NsecToTimeval(replyTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &deadline),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &deadline),
		// So that an error does not bring back the whole message that it is about.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	return netlinkSocket(fd), err
}

// send makes room for the message where it is larger than what a socket may
// send at once by default: that of a restore of a thousand containers is.
func (n netlinkSocket) send(b []byte) error {
	const usual = 64 << 10 // well below net.core.wmem_default
	if len(b) > usual {
		size := 2 * len(b)
		if unix.SetsockoptInt(int(n), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) != nil {
			_ = unix.SetsockoptInt(int(n), unix.SOL_SOCKET, unix.SO_SNDBUF, size)
		}
	}
	return unix.Sendto(int(n), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (n netlinkSocket) receive(buffer []byte) (int, error) {
	for {
		length, flags, err := recv(int(n), buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, fmt.Errorf("no answer within %s: %w", replyTimeout, os.ErrDeadlineExceeded)
		case err == nil && flags&unix.MSG_TRUNC != 0:
			return 0, errMalformed
		}
		return length, err
	}
}

func recv(fd int, buffer []byte) (length, flags int, err error) {
	length, _, flags, _, err = unix.Recvmsg(fd, buffer, nil, 0)
	return length, flags, err
}

// conn asks and tells the kernel.
type conn struct {
	socket
	sequence uint32
	buffer   []byte
}

// newConn returns a connection over a socket. A dump's messages are of 32 KiB at
// most (NLMSG_GOODSIZE and what netlink_dump doubles it to).
func newConn(s socket) *conn { return &conn{socket: s, buffer: make([]byte, 64<<10)} }

// errInterrupted says that another program changed what was being listed.
var errInterrupted = errors.New("another program changes the tables meanwhile")

// reply is one message of the kernel's.
type reply struct {
	index  int // index of what it answers
	family byte
	attrs  []byte
}

// query sends requests, of which none but the last may be a dump, and calls each
// for every answer. To what is not there, no
// answer comes. An error of the kernel's is a syscall.Errno.
func (c *conn) query(each func(reply) error, requests ...request) error {
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
	for {
		done, err := c.replies(first, func(i int, m syscall.NetlinkMessage) (bool, error) {
			if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
				return false, errInterrupted
			}
			switch m.Header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := errnoOf(m.Data); err != nil && !errors.Is(err, unix.ENOENT) {
					return false, err // the rest is given up: of what it may not do, the kernel answers only the first
				}
				return i == len(requests)-1, nil
			}
			if len(m.Data) < 4 {
				return false, errMalformed
			}
			return false, each(reply{i, m.Data[0], m.Data[4:]})
		})
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// commit sends requests as one transaction, which the kernel takes whole or not
// at all, and only as long as its tables are those of a generation. The error of
// a request that it refuses names the request by its index.
func (c *conn) commit(generation uint32, requests []request) error {
	begin := c.sequence + 1
	last := begin + uint32(len(requests))
	c.sequence = last + 1
	b := appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, begin, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES,
		attrUint32(unix.NFNL_BATCH_GENID, generation))
	for i, r := range requests {
		if i == len(requests)-1 {
			r.flags |= unix.NLM_F_ACK // errors are told of all; that the last is through, of this one
		}
		b = r.append(b, begin+1+uint32(i))
	}
	b = appendMessage(b, unix.NFNL_MSG_BATCH_END, 0, last+1, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := c.send(b); err != nil {
		return err
	}
	var refused error
	for {
		done, err := c.replies(begin, func(i int, m syscall.NetlinkMessage) (bool, error) {
			if m.Header.Type != unix.NLMSG_ERROR {
				return false, nil
			}
			if err := errnoOf(m.Data); err != nil && refused == nil {
				refused = refusal{i - 1, err}
			}
			// The kernel answers to the beginning where it refuses all of it.
			return i == 0 || i == len(requests), nil
		})
		if err != nil {
			return err
		}
		if done {
			return refused
		}
	}
}

// refusal is the kernel's answer to one request of a transaction, or to all of
// it (index -1).
type refusal struct {
	index int
	errno error
}

func (r refusal) Error() string { return r.errno.Error() }

func (r refusal) Unwrap() error { return r.errno }

// replies receives once, and hands on the messages that answer requests from
// first on. Others are late answers to what was given up.
func (c *conn) replies(first uint32, do func(i int, m syscall.NetlinkMessage) (done bool, err error)) (bool, error) {
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

// errnoOf reads what NLMSG_ERROR and NLMSG_DONE begin with: an error number,
// negative, or zero.
func errnoOf(body []byte) error {
	if len(body) < 4 {
		return errMalformed
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
