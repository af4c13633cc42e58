// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest/dbusdaemon"
)

// busSocket is where programs look for the system bus. /run is the host's own.
const busSocket = "/run/dbus/system_bus_socket"

// Bus starts the host's system bus.
func (h *Host) Bus() (*dbusdaemon.Daemon, error) {
	if err := os.MkdirAll(filepath.Dir(busSocket), 0o755); err != nil {
		return nil, err
	}
	return dbusdaemon.Start(busSocket)
}

// Await tries until there is no error. What it waits for comes in a second or two,
// and on a busy machine later: after five minutes it never will.
func Await(try func() error) error {
	err := try()
	for deadline := time.Now().Add(5 * time.Minute); err != nil && time.Now().Before(deadline); err = try() {
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
