// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Running returns nil where firewalld answers and filters the caller's network
// namespace. An error for which Absent is true says that there is no firewalld for
// the caller. Any other error says that firewalld runs and does not answer.
func (c *Conn) Running() error {
	var pid uint32
	err := c.call(c.bus.BusObject(), "org.freedesktop.DBus.GetConnectionUnixProcessID", []any{busName}, &pid)
	if errors.Is(err, ErrNotRunning) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("asking the bus for firewalld's process: %w", err)
	}
	if err := checkNamespace(pid); err != nil {
		return err
	}
	if _, err := c.property(path, mainInterface, "state"); err != nil {
		return fmt.Errorf("asking firewalld for its state: %w", err)
	}
	return nil
}

// checkNamespace compares the network namespace of a process with the caller's. It
// compares a file below /proc/PID/net, which differs from namespace to namespace
// (fs/proc/proc_net.c) and which everybody may see. /proc/PID/ns/net needs the right
// to trace the process, and with it all capabilities that firewalld has.
func checkNamespace(pid uint32) error {
	own, err := os.Stat("/proc/thread-self/net/dev")
	if err != nil {
		return fmt.Errorf("looking up the caller's network namespace: %w", err)
	}
	its, err := os.Stat(fmt.Sprintf("/proc/%d/net/dev", pid))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w, or to another PID namespace: the caller sees no process %d", ErrElsewhere, pid)
	case err != nil:
		return fmt.Errorf("looking up firewalld's network namespace: %w", err)
	case !os.SameFile(own, its):
		return ErrElsewhere
	}
	return nil
}
