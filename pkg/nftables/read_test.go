// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestInterrupted has another program change what is being listed.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for dump := 1; dump <= 3; dump++ { // ahead of them, the generation and the table are asked for
		k := holding(t, sample())
		first := k.requests
		k.interrupt = func(n int) bool { return n == first+1+dump }
		if err := check(t, k, sample()); err != nil {
			t.Errorf("dump %d: %v", dump, err)
		}
	}
	k := holding(t, sample())
	k.interrupt = func(int) bool { return true }
	if s, err := read(k.connect()); !errors.Is(err, ErrBusy) || s.Families() != 0 {
		t.Errorf("got families %v, error %v", s.Families().List(), err)
	}
}

// TestUnreadable fails each request of a call once, in each way.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	before := k.requests
	if err := check(t, k, sample()); err != nil {
		t.Fatal(err)
	}
	calls := k.requests - before
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EINVAL, unix.ENOMEM} {
		for n := range calls {
			t.Run(fmt.Sprintf("%s/%d", unix.ErrnoName(errno), n), func(t *testing.T) {
				t.Parallel()
				k := holding(t, sample())
				first := k.requests
				k.fail = func(i int, _ told) syscall.Errno { return map[int]syscall.Errno{first + n: errno}[i] }
				c := k.connect()
				s, err := read(c)
				if err == nil {
					err = s.Check(sample())
				}
				if !errors.Is(err, errno) || errors.Is(err, ErrUnsupported) != (errno == unix.EINVAL) {
					t.Errorf("got error %v", err)
				}
				// Answers that come late are not taken for the next one's.
				if s, err := read(c); err != nil || s.Check(sample()) != nil {
					t.Errorf("afterwards: %v, %v", err, s.Check(sample()))
				}
			})
		}
	}
}

func TestExplained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err         error
		unsupported bool
		want        string
	}{
		{unix.EPROTONOSUPPORT, true, ErrUnsupported.Error() + ": protocol not supported"},
		{unix.EAFNOSUPPORT, true, ErrUnsupported.Error() + ": address family not supported by protocol"},
		{unix.EOPNOTSUPP, true, ErrUnsupported.Error() + ": operation not supported"},
		{unix.EINVAL, true, ErrUnsupported.Error() + ": invalid argument"},
		{unix.EPERM, false, "asking for nftables needs the capability CAP_NET_ADMIN: operation not permitted"},
		{unix.ENOMEM, false, "asking for nftables: cannot allocate memory"},
		{errMalformed, false, "asking for nftables: the kernel's answer is malformed"},
		{ErrBusy, false, "asking for nftables: " + ErrBusy.Error()},
	} {
		err := explained(test.err)
		if !errors.Is(err, test.err) || errors.Is(err, ErrUnsupported) != test.unsupported || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if err := explained(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestLate has a call given up, and the rest of its answers come while the next
// one waits for its own.
func TestLate(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	first := k.requests
	k.fail = func(n int, _ told) syscall.Errno { return map[int]syscall.Errno{first: unix.ENOMEM}[n] }
	c := k.connect()
	if _, err := read(c); !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("got error %v", err)
	}
	k.other(func(h *host) { h.tables = nil })
	s, err := read(c)
	if err != nil || s.table.exists {
		t.Errorf("got error %v, and a table that is no more", err)
	}
}

// TestNoAnswer has the kernel say nothing at all.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.mangle = func([]byte) []byte { return nil }
	if _, err := read(k.connect()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	if got := start(t, newKernel()).Families(); got != policy.BothFamilies {
		t.Errorf("got %v", got.List())
	}
	unread := new(Snapshot)
	if unread.Families() != 0 || unread.DropsSameBridge("br1") || unread.Remove(sample()) != nil || unread.Obstacles() != (policy.Obstacles{}) {
		t.Error("a table that was not read has something")
	}
}

func TestDropsSameBridge(t *testing.T) {
	t.Parallel()
	s := start(t, holding(t, sample()))
	before := s.conn.socket.(*line).requests
	for bridge, want := range map[string]bool{"br1": false, "br2": true, "br3": true, "br4": false, "br": false, "": false} {
		if got := s.DropsSameBridge(bridge); got != want {
			t.Errorf("%q: got %t, want %t", bridge, got, want)
		}
	}
	if got := s.conn.socket.(*line).requests - before; got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	if start(t, newKernel()).DropsSameBridge("br1") {
		t.Error("without a table: true")
	}
}
