// SPDX-License-Identifier: Apache-2.0

// Package firewalldtest has a firewalld for tests of what the real one cannot be
// made to do, and a message bus of the test's own for it.
package firewalldtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`

// Bus is a message bus.
type Bus struct {
	Address string // as DBUS_SYSTEM_BUS_ADDRESS has it

	t      testing.TB
	socket string
	mu     sync.Mutex // of what follows
	daemon *exec.Cmd
}

// StartBus starts a bus, which the test's end ends.
func StartBus(t testing.TB) *Bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{t: t, socket: filepath.Join(dir, "socket")}
	b.Address = "unix:path=" + b.socket
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
	conf := b.socket + ".conf"
	if err := os.WriteFile(conf, fmt.Appendf(nil, busConf, b.Address), 0o600); err != nil {
		b.t.Fatal(err)
	}
	daemon := exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--nopidfile")
	if err := daemon.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.daemon = daemon
	b.mu.Unlock()
	for range 500 {
		if c, err := dbus.Connect(b.Address); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatal("the bus does not listen")
}

// Kill ends the bus, and all connections over it.
func (b *Bus) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon == nil {
		return
	}
	_ = b.daemon.Process.Kill()
	_ = b.daemon.Wait()
	b.daemon = nil
	_ = os.Remove(b.socket)
}

// Connect returns a connection to the bus, which the test's end closes.
func (b *Bus) Connect(options ...dbus.ConnOption) *dbus.Conn {
	b.t.Helper()
	c, err := dbus.Connect(b.Address, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}
