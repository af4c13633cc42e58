// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Driver keeps addresses in the zones of the firewalld that filters the process's
// network namespace. It connects when it is first used, once.
type Driver struct {
	open func() (*Conn, error)
}

var _ policy.Driver = (*Driver)(nil)

// NewDriver returns a driver for the firewalld on the system bus.
func NewDriver() *Driver {
	return &Driver{sync.OnceValues(func() (*Conn, error) {
		c, err := Connect()
		if err != nil {
			return nil, err
		}
		return c, c.Running()
	})}
}

// Absent reports whether an error says that there is no firewalld for this process.
func Absent(err error) bool {
	return errors.Is(err, ErrNotRunning) || errors.Is(err, ErrElsewhere) || errors.Is(err, ErrNotAuthorized)
}

// Installed returns all families, or none where firewalld is absent. Where firewalld
// is there and does not answer, Read returns the error.
func (d *Driver) Installed(f policy.Families) (policy.Families, error) {
	if f == 0 {
		return 0, nil
	}
	if _, err := d.open(); Absent(err) {
		return 0, err
	}
	return f, nil
}

// MayIsolate returns false: zones accept, and isolate nothing.
func (d *Driver) MayIsolate() bool { return false }

// Read returns the sources of families. It asks only whether firewalld runs; all
// other questions wait until they are needed.
func (d *Driver) Read(f policy.Families) (policy.Snapshot, error) {
	if f == 0 {
		return &Sources{}, nil
	}
	c, err := d.open()
	if err != nil {
		return &Sources{}, err
	}
	return c.Sources(f), nil
}
