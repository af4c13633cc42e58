// SPDX-License-Identifier: Apache-2.0

// Package firewalldtest is a fake firewalld on a message bus of its own, for what a
// test cannot make the real one do.
package firewalldtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest/dbusdaemon"
)

// Bus is a message bus.
type Bus struct {
	Address string // for DBUS_SYSTEM_BUS_ADDRESS

	t      testing.TB
	socket string
	mu     sync.Mutex // guards daemon
	daemon *dbusdaemon.Daemon
}

// StartBus starts a bus that runs until the test ends.
func StartBus(t testing.TB) *Bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{t: t, socket: filepath.Join(dir, "socket")}
	b.Address = dbusdaemon.Address(b.socket)
	t.Cleanup(func() {
		b.Kill()
		_ = os.RemoveAll(dir)
	})
	b.Start()
	return b
}

// Start starts the bus again, at the same address.
func (b *Bus) Start() {
	b.t.Helper()
	daemon, err := dbusdaemon.Start(b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.daemon = daemon
	b.mu.Unlock()
}

// Kill ends the bus and all its connections.
func (b *Bus) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon == nil {
		return
	}
	b.daemon.Kill()
	b.daemon = nil
}

// Connect returns a connection to the bus that is open until the test ends.
func (b *Bus) Connect(options ...dbus.ConnOption) *dbus.Conn {
	b.t.Helper()
	c, err := dbus.Connect(b.Address, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}
