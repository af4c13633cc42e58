// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

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

// answer is one message of the kernel's.
type answer struct {
	request int // index of what it answers
	family  byte
	attrs   []byte
}

// ask sends requests, of which none but the last may be a dump, and calls each
// for every answer. To what is not there, no
// answer comes. An error of the kernel's is a syscall.Errno.
func (c *conn) ask(each func(answer) error, requests ...request) error {
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
		done, err := c.answers(first, func(i int, m syscall.NetlinkMessage) (bool, error) {
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
			return false, each(answer{i, m.Data[0], m.Data[4:]})
		})
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// answers receives once, and hands on the messages that answer requests from
// first on. Others are late answers to what was given up.
func (c *conn) answers(first uint32, do func(i int, m syscall.NetlinkMessage) (done bool, err error)) (bool, error) {
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
