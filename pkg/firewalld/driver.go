// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Driver keeps addresses in the zones of the firewalld that filters the network
// namespace in which the process is. It opens its one connection when it is first
// asked.
type Driver struct {
	open func() (*Conn, error)
}

var _ policy.Driver = (*Driver)(nil)

// NewDriver returns the driver of the system bus.
func NewDriver() *Driver {
	return &Driver{sync.OnceValues(func() (*Conn, error) {
		c, err := Connect()
		if err != nil {
			return nil, err
		}
		return c, c.Running()
	})}
}

// Absent reports whether an error says that there is no firewalld for the caller.
func Absent(err error) bool {
	return errors.Is(err, ErrNotRunning) || errors.Is(err, ErrElsewhere) || errors.Is(err, ErrNotAuthorized)
}

// Installed returns all of the families, or none where firewalld is absent. Why
// another one does not answer, Read tells.
func (d *Driver) Installed(f policy.Families) (policy.Families, error) {
	if f == 0 {
		return 0, nil
	}
	if _, err := d.open(); Absent(err) {
		return 0, err
	}
	return f, nil
}

// Read returns the sources of families. Nothing is asked before it is needed, but
// for whether firewalld runs.
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
