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

	requests int      // that read, since it was made
	commits  [][]told // transactions that were asked for, done or not

	// What goes wrong. Each is called with the number of the request or the
	// transaction, counted from 0; those that are nil never happen.
	meanwhile    func(commit int, h *host) bool // another program's change ahead of a transaction; whether it made one
	refuse       func(commit int) *fault
	unanswered   func(commit int) (silent, done bool)
	fail         func(n int, m told) syscall.Errno
	interrupt    func(n int) bool       // a dump is
	mangle       func(b []byte) []byte  // an answer
	cannotBeSent func(commit int) error // the socket's own refusal
}

// fault is an error for one change of a transaction, or for all (index -1).
type fault struct {
	index int
	errno syscall.Errno
}

// line is one connection to the fake kernel.
type line struct {
	*kernel
	answers [][]byte
}

// newKernel returns one without any table.
func newKernel() *kernel { return &kernel{generation: 7} }

func (k *kernel) connect() *conn { return newConn(&line{kernel: k}) }

func (l *line) send(b []byte) error {
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
func (l *line) receive(buffer []byte) (int, error) {
	if len(l.answers) == 0 {
		return 0, fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
	}
	b := l.answers[0]
	l.answers = l.answers[1:]
	if l.mangle != nil {
		b = l.mangle(b)
	}
	return copy(buffer, b), nil
}

// acknowledge answers a request with an error number, or with success.
func (l *line) acknowledge(m told, errno syscall.Errno) {
	body := numberOf(-int32(errno))
	body = append(body, make([]byte, unix.NLMSG_HDRLEN)...) // of what it answers
	l.answers = append(l.answers, datagram(unix.NLMSG_ERROR, 0, m.sequence, body))
}

// read answers one request that reads.
func (l *line) read(m told) {
	n := l.requests
	l.requests++
	if l.fail != nil {
		if errno := l.fail(n, m); errno != 0 {
			l.acknowledge(m, errno)
			return
		}
	}
	found, errno := l.find(m)
	switch {
	case errno != 0:
		l.acknowledge(m, errno)
	case m.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		l.dump(m, found, l.interrupt != nil && l.interrupt(n))
	default:
		for _, f := range found {
			l.answers = append(l.answers, datagram(ours+f.kind, 0, m.sequence, f.body()))
		}
		l.acknowledge(m, 0)
	}
}

// dump answers with a few messages a datagram, the end on its own.
func (l *line) dump(m told, found []told, interrupted bool) {
	flags := unix.NLM_F_MULTI
	if interrupted {
		flags |= unix.NLM_F_DUMP_INTR
	}
	const few = 3
	for len(found) > 0 {
		var b []byte
		n := min(few, len(found))
		for _, f := range found[:n] {
			b = append(b, datagram(ours+f.kind, flags, m.sequence, f.body())...)
		}
		l.answers, found = append(l.answers, b), found[n:]
	}
	l.answers = append(l.answers, datagram(unix.NLMSG_DONE, flags, m.sequence, numberOf(0)))
}

// start reads the table as a call of the plugin does.
func start(t *testing.T, k *kernel) *Snapshot {
	t.Helper()
	s, err := read(k.connect())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// other lets another program change something, now.
func (k *kernel) other(do func(*host)) {
	do(&k.host)
	k.generation++
}

// last returns the last transaction that was asked for.
func (k *kernel) last() []told { return k.commits[len(k.commits)-1] }

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
