// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLateReply has a query fail. The rest of its replies arrive while the next query
// waits.
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
	if err != nil || s.packets.exists {
		t.Errorf("got error %v, and a table that is no more", err)
	}
}

// TestOwnPorts opens more sockets than one. A DEL that deletes in several transactions
// does, while the kernel still closes the ones before.
func TestOwnPorts(t *testing.T) {
	t.Parallel()
	ports := map[uint32]bool{}
	const sockets = 3
	for range sockets {
		s, err := openSocket()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(s.fd) }()
		address, err := unix.Getsockname(s.fd)
		if err != nil {
			t.Fatal(err)
		}
		port := address.(*unix.SockaddrNetlink).Pid
		if process, isOwn := ownerOf(port); process != os.Getpid() || !isOwn {
			t.Errorf("port %#x is of process %d, own %t", port, process, isOwn)
		}
		ports[port] = true
	}
	if len(ports) != sockets {
		t.Errorf("got ports %v", ports)
	}
}

// TestNoReply has the kernel send empty datagrams.
func TestNoReply(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.alterReply = func([]byte) []byte { return nil }
	if _, err := read(k.connect()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

// TestSeveralRefusedChanges expects the first refused change to be named.
func TestSeveralRefusedChanges(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	c := k.connect()
	table, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	missing := element{set: setIPv4, key: interfaceKey("none") + "1234"}.delete()
	added := element{set: setIPv4, key: interfaceKey("more") + "1234"}.request(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE,
		element{set: setIPv4, key: interfaceKey("more") + "1234"}.encode())
	err = c.commit(table.generation, []request{added, missing, missing, added})
	var r refusal
	if !errors.As(err, &r) || r.index != 1 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %+v", err)
	}
	// Late replies are not taken for those to the next transaction.
	if err := c.commit(table.generation, []request{added}); err != nil {
		t.Errorf("got error %v", err)
	}
}
