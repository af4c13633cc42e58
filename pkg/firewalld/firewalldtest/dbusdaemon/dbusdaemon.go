// SPDX-License-Identifier: Apache-2.0

// Package dbusdaemon runs real message buses for tests. Everybody may do everything
// on them.
package dbusdaemon

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/godbus/dbus/v5"
)

// patience is how long a bus may take to listen on a busy machine.
const patience = 5 * time.Minute

const configuration = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
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

// Daemon is a running bus.
type Daemon struct {
	socket string
	cmd    *exec.Cmd
}

// Address returns the D-Bus address of a socket.
func Address(socket string) string { return "unix:path=" + socket }

// Start starts a bus and waits until it listens at a socket. The bus's configuration
// is in a file beside the socket.
func Start(socket string) (*Daemon, error) {
	conf := socket + ".conf"
	if err := os.WriteFile(conf, fmt.Appendf(nil, configuration, Address(socket)), 0o600); err != nil {
		return nil, err
	}
	d := &Daemon{socket, exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--nopidfile")}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := dbus.Connect(Address(socket))
		if err == nil {
			return d, c.Close()
		}
		if time.Now().After(deadline) {
			d.Kill()
			return nil, fmt.Errorf("waiting for the bus at %s: %w", socket, err)
		}
	}
}

// Kill ends the bus and all its connections at once.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	_ = os.Remove(d.socket)
}
