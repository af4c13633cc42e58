// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLateReply has a call given up, and the rest of its answers come while the next
// one waits for its own.
func TestLateReply(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	first := k.requests
	k.fail = func(n int, _ message) syscall.Errno { return map[int]syscall.Errno{first: unix.ENOMEM}[n] }
	c := k.connect()
	if _, err := read(c); !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("got error %v", err)
	}
	k.otherProgram(func(h *host) { h.tables = nil })
	s, err := read(c)
	if err != nil || s.table.exists {
		t.Errorf("got error %v, and a table that is no more", err)
	}
}

// TestNoReply has the kernel say nothing at all.
func TestNoReply(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.mangle = func([]byte) []byte { return nil }
	if _, err := read(k.connect()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

// TestSeveralRefusedChanges names the first change that is refused.
func TestSeveralRefusedChanges(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	c := k.connect()
	table, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	gone := request{kind: unix.NFT_MSG_DELSETELEM, attrs: elementList(setIPv4, element{set: setIPv4, key: "none"}.encode())}
	fine := request{kind: unix.NFT_MSG_NEWSETELEM, attrs: elementList(setIPv4, element{set: setIPv4, key: "more"}.encode())}
	err = c.commit(table.generation, []request{fine, gone, gone, fine})
	var r refusal
	if !errors.As(err, &r) || r.index != 1 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %+v", err)
	}
	// What is left of the answer is not taken for the next one's.
	if err := c.commit(table.generation, []request{fine}); err != nil {
		t.Errorf("got error %v", err)
	}
}
