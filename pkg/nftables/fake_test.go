// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel stands in for the kernel's end of the socket: it takes and gives the
// bytes of netlink, and has nf_tables behind them. Several connections may be
// made to one.
type kernel struct {
	generation uint32
	host       host

	requests int         // that read, since it was made
	commits  [][]message // transactions that were asked for, done or not

	// What goes wrong. Each is called with the number of the request or the
	// transaction, counted from 0; those that are nil never happen.
	concurrent   func(commit int, h *host) bool // another program's change ahead of a transaction; whether it made one
	refuse       func(commit int) *fault
	unanswered   func(commit int) (silent, done bool)
	fail         func(n int, m message) syscall.Errno
	interrupt    func(n int) bool       // a dump is
	mangle       func(b []byte) []byte  // an answer
	cannotBeSent func(commit int) error // the socket's own refusal
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

// newKernel returns one without any table.
func newKernel() *kernel { return &kernel{generation: 7} }

func (k *kernel) connect() *conn { return newConn(&fakeSocket{kernel: k}) }

func (l *fakeSocket) send(b []byte) error {
	messages, err := parseMessages(b)
	if err != nil {
		return err
	}
	if len(messages) > 0 && messages[0].kind == batchBegin {
		if l.cannotBeSent != nil {
			if err := l.cannotBeSent(len(l.commits)); err != nil {
				return err
			}
		}
		l.transact(messages)
		return nil
	}
	for _, m := range messages {
		l.read(m)
	}
	return nil
}

// receive gives one datagram. Where there is none it fails at once, as the real
// socket does after its patience.
func (l *fakeSocket) receive(buffer []byte) (int, error) {
	if len(l.replies) == 0 {
		return 0, fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
	}
	b := l.replies[0]
	l.replies = l.replies[1:]
	if l.mangle != nil {
		b = l.mangle(b)
	}
	return copy(buffer, b), nil
}

// acknowledge answers a request with an error number, or with success.
func (l *fakeSocket) acknowledge(m message, errno syscall.Errno) {
	body := errorBody(-int32(errno))
	body = append(body, make([]byte, unix.NLMSG_HDRLEN)...) // of what it answers
	l.replies = append(l.replies, datagram(unix.NLMSG_ERROR, 0, m.sequence, body))
}

// read answers one request that reads.
func (l *fakeSocket) read(m message) {
	n := l.requests
	l.requests++
	if l.fail != nil {
		if errno := l.fail(n, m); errno != 0 {
			l.acknowledge(m, errno)
			return
		}
	}
	found, errno := l.get(m)
	switch {
	case errno != 0:
		l.acknowledge(m, errno)
	case m.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		l.dump(m, found, l.interrupt != nil && l.interrupt(n))
	default:
		for _, f := range found {
			l.replies = append(l.replies, datagram(subsystem+f.kind, 0, m.sequence, f.body()))
		}
		l.acknowledge(m, 0)
	}
}

// dump answers with a few messages a datagram, the end on its own.
func (l *fakeSocket) dump(m message, found []message, interrupted bool) {
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
		l.replies, found = append(l.replies, b), found[n:]
	}
	l.replies = append(l.replies, datagram(unix.NLMSG_DONE, flags, m.sequence, errorBody(0)))
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

// otherProgram lets another program change something, now.
func (k *kernel) otherProgram(do func(*host)) {
	do(&k.host)
	k.generation++
}

// last returns the last transaction that was asked for.
func (k *kernel) last() []message { return k.commits[len(k.commits)-1] }

// nth makes a fault happen just once.
func nth[T any](n int, fault T) func(int) T {
	return func(i int) T {
		var none T
		if i == n {
			return fault
		}
		return none
	}
}
