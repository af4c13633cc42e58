// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// busSocket is where programs look for the system bus. /run is the host's own.
const busSocket = "/run/dbus/system_bus_socket"

// busConf lets root do what the files of packages would let it do one by one.
const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=` + busSocket + `</listen>
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

// Bus is the host's system bus.
type Bus struct{ daemon *exec.Cmd }

// Bus starts the system bus.
func (h *Host) Bus() (*Bus, error) {
	conf := filepath.Join(filepath.Dir(busSocket), "system.conf")
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(conf, []byte(busConf), 0o644); err != nil {
		return nil, err
	}
	b := &Bus{exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--nopidfile")}
	if err := b.daemon.Start(); err != nil {
		return nil, err
	}
	return b, await(func() error {
		_, err := os.Stat(busSocket)
		return err
	})
}

// Kill ends the bus at once, and with it firewalld.
func (b *Bus) Kill() error {
	_ = b.daemon.Process.Kill()
	_ = b.daemon.Wait()
	return os.Remove(busSocket)
}

// await tries until there is no error, for half a minute at most.
func await(try func() error) error {
	err := try()
	for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); err = try() {
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
