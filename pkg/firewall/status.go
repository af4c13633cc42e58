// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Unavailable says that an ADD cannot work.
type Unavailable struct{ error }

// Unwrap returns why.
func (u Unavailable) Unwrap() error { return u.error }

// Limited says that what was added is not in force.
type Limited struct{ error }

// Unwrap returns why.
func (l Limited) Unwrap() error { return l.error }

// Status returns an Unavailable error where an ADD cannot work for a network whose
// configuration names this backend, or none, and a policy; and a Limited one where what
// was added is no longer in force.
func (fw *Engine) Status(network string, backend policy.Backend, p policy.IngressPolicy) error {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return Unavailable{err}
	}
	r, err := fw.storage.list(s).followed()
	if err != nil {
		return Unavailable{err}
	}
	desired := fw.desired(r, nil, r.briefs())
	actual, difference, err := fw.drivers.settled(desired, fw.ports.inForce(&r))
	if difference != nil { // of a container that was deleted without this plugin, it is none
		if r, err = r.withoutGone(); err != nil {
			fw.warn(err)
			actual, difference, err = fw.drivers.settled(fw.desired(r, nil, r.briefs()), fw.ports.inForce(&r))
		}
	}
	if err == nil {
		a := policy.Attachment{Network: network, Backend: backend, IngressPolicy: p}
		backend, err = fw.availableBackend(r, a, actual)
	}
	if err != nil {
		return Unavailable{fw.explained(err)}
	}
	obstacles := actual.obstacles(backend)
	fw.warn(fw.explained(obstacles.Published))
	err = errors.Join(diagnosis.WithKind(diagnosis.ErrDiffers, difference), obstacles.Forwarding)
	if err != nil {
		return Limited{fw.explained(err)}
	}
	return nil
}

// availableBackend returns the backend that an ADD of an attachment would use, and an
// error where it cannot work with that.
func (fw *Engine) availableBackend(r records, a policy.Attachment, actual snapshots) (policy.Backend, error) {
	c, err := fw.drivers.chooseIfUnnamed(a.Backend)
	if err != nil || c.backend == "" {
		return a.Backend, errors.Join(err, fw.drivers.available(a.Backend, a.IngressPolicy, actual))
	}
	backend := fw.drivers.backendFor(r, a.Network, c)
	fw.warn(c.differs(backend, r.Entries))
	err = fw.drivers.available(backend, a.IngressPolicy, actual)
	if fw.drivers.isUnusable(backend, err) {
		fw.warn(insteadOfIPTables(err))
		return policy.NFTables, fw.drivers.available(policy.NFTables, a.IngressPolicy, actual)
	}
	return backend, err
}

// available returns an error where an ADD cannot work with a backend.
func (d drivers) available(backend policy.Backend, p policy.IngressPolicy, actual snapshots) error {
	var errs []error
	for _, name := range backend.Drivers() {
		if backend.Needs(name) || d.hasTable() {
			errs = append(errs, d.availableAt(name, p, actual))
		}
	}
	return errors.Join(errs...)
}

// availableAt returns an error where an ADD cannot work with a driver, which is read if
// it was not yet.
func (d drivers) availableAt(name policy.DriverName, p policy.IngressPolicy, actual snapshots) error {
	if snapshot, read := actual[name]; read && snapshot.Families() != 0 {
		return snapshot.Ready(p)
	}
	driver := d.all[name]
	installed, missing := driver.Installed(policy.BothFamilies)
	snapshot, err := driver.Read(installed)
	if snapshot.Families() == 0 {
		return errors.Join(missing, err)
	}
	d.warn(err)
	actual[name] = snapshot
	return snapshot.Ready(p)
}
