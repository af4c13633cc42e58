// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel is a fake of the kernel's end of the socket. It takes and returns
// netlink's bytes, and does what nf_tables does. Several connections may share one.
type kernel struct {
	generation uint32
	host       host
	lacks      map[expression]bool // for want of a module

	requests int         // queries so far
	commits  [][]message // transactions so far, done or not

	// Failures. Each function is called with the number of the query or the
	// transaction, counted from 0. One that is nil never fails.
	concurrent func(commit int, h *host) bool // another program's change, if any
	refuse     func(commit int) *fault
	unanswered func(commit int) (silent, done bool)
	fail       func(n int, m message) syscall.Errno
	interrupt  func(n int) bool       // whether a dump is
	alterReply func(b []byte) []byte  // changes a datagram of the kernel
	sendError  func(commit int) error // an error of the socket
}

// expression is one of rules in tables of a family.
type expression struct {
	family byte
	name   string
}

// fault is an error for one change of a transaction, or for all (index -1).
type fault struct {
	index int
	errno syscall.Errno
}

// fakeSocket is one connection to the fake kernel.
type fakeSocket struct {
	*kernel
	replies [][]byte
}

// newKernel returns a kernel without tables.
func newKernel() *kernel { return &kernel{generation: 7} }

func (k *kernel) connect() *conn { return newConn(&fakeSocket{kernel: k}) }

func (s *fakeSocket) send(b []byte) error {
	messages, err := parseMessages(b)
	if err != nil {
		return err
	}
	if len(messages) > 0 && messages[0].kind == batchBegin {
		if s.sendError != nil {
			if err := s.sendError(len(s.commits)); err != nil {
				return err
			}
		}
		s.transact(messages)
		return nil
	}
	for _, m := range messages {
		s.answer(m)
	}
	return nil
}

func (s *fakeSocket) renew() {}

// receive returns one datagram. If there is none, it fails at once; the real socket
// waits for its timeout first.
func (s *fakeSocket) receive(buffer []byte) (int, error) {
	if len(s.replies) == 0 {
		return 0, fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
	}
	b := s.replies[0]
	s.replies = s.replies[1:]
	if s.alterReply != nil {
		b = s.alterReply(b)
	}
	return copy(buffer, b), nil
}

// replyError replies with an error number, or with success.
func (s *fakeSocket) replyError(m message, errno syscall.Errno) {
	body := errorBody(-int32(errno))
	body = append(body, make([]byte, unix.NLMSG_HDRLEN)...) // header of the request
	s.replies = append(s.replies, datagram(unix.NLMSG_ERROR, 0, m.sequence, body))
}

// answer replies to a query.
func (s *fakeSocket) answer(m message) {
	n := s.requests
	s.requests++
	if s.fail != nil {
		if errno := s.fail(n, m); errno != 0 {
			s.replyError(m, errno)
			return
		}
	}
	found, errno := s.get(m)
	switch {
	case errno != 0:
		s.replyError(m, errno)
	case m.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		s.dump(m, found, s.interrupt != nil && s.interrupt(n))
	default:
		for _, f := range found {
			s.replies = append(s.replies, datagram(subsystem+f.kind, 0, m.sequence, f.body()))
		}
		s.replyError(m, 0)
	}
}

// dump replies with a few messages in each datagram, and the end in one of its own.
func (s *fakeSocket) dump(m message, found []message, interrupted bool) {
	flags := unix.NLM_F_MULTI
	if interrupted {
		flags |= unix.NLM_F_DUMP_INTR
	}
	const few = 3
	for len(found) > 0 {
		var b []byte
		n := min(few, len(found))
		for _, f := range found[:n] {
			b = append(b, datagram(subsystem+f.kind, flags, m.sequence, f.body())...)
		}
		s.replies, found = append(s.replies, b), found[n:]
	}
	s.replies = append(s.replies, datagram(unix.NLMSG_DONE, flags, m.sequence, errorBody(0)))
}

// readSnapshot reads the table as a call of the plugin does.
func readSnapshot(t *testing.T, k *kernel) *Snapshot {
	t.Helper()
	s, err := read(k.connect())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// otherProgram lets another program change tables now.
func (k *kernel) otherProgram(do func(*host)) {
	do(&k.host)
	k.generation++
}

// lastCommit returns the last transaction that was sent.
func (k *kernel) lastCommit() []message { return k.commits[len(k.commits)-1] }

// nth makes a fault happen once.
func nth[T any](n int, fault T) func(int) T {
	return func(i int) T {
		var none T
		if i == n {
			return fault
		}
		return none
	}
}
