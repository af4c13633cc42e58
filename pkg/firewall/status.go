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

// Status returns an Unavailable error where an ADD of a network cannot work whose
// configuration names a backend, or none; and a Limited one where what was added is
// no longer in force.
func (fw *Engine) Status(backend policy.Backend) error {
	s, err := store.Peek(fw.dataDir)
	if err != nil {
		return Unavailable{err}
	}
	all := fw.remember(s).briefs()
	sets := policy.ByDriver(all, all)
	h, difference, err := fw.confirmed(sets, held.inForce)
	if err == nil && backend == "" {
		backend, err = fw.Choose()
	}
	if err == nil {
		err = fw.available(backend, h)
	}
	if err != nil {
		return Unavailable{fw.explained(err)}
	}
	o := h.obstacles(backend)
	fw.warn(fw.explained(o.Published))
	if err := errors.Join(diagnosis.WithKind(diagnosis.ErrDiffers, difference), o.Forwarding); err != nil {
		return Limited{fw.explained(err)}
	}
	return nil
}

// available returns an error where an ADD cannot work with a backend.
func (fw *Engine) available(backend policy.Backend, h held) error {
	var errs []error
	for _, name := range backend.Drivers() {
		errs = append(errs, fw.availableAt(name, h))
	}
	return errors.Join(errs...)
}

// availableAt returns an error where an ADD cannot work with a place. What was
// read of it is proof enough that it can; else it is read.
func (fw *Engine) availableAt(name policy.DriverName, h held) error {
	if t, read := h[name]; read && t.Families() != 0 {
		return nil
	}
	at := fw.host.Drivers[name]
	installed, missing := at.Installed(policy.BothFamilies)
	t, err := at.Read(installed)
	if t.Families() == 0 {
		return errors.Join(missing, err)
	}
	fw.warn(err)
	h[name] = t
	return t.Check(policy.RuleSet{}) // whether it may be written to at all
}

// inForce returns an error that names the first thing which the kernel does not
// hold as the rule sets say.
func (h held) inForce(sets policy.RuleSets) error {
	if err := h.check(sets); err != nil {
		return err
	}
	return checkPorts(isolating(sets))
}

// briefs returns all attachments as far as the names of their records say.
func (l live) briefs() []policy.Attachment {
	var all []policy.Attachment
	for _, e := range l.Entries {
		all = append(all, e.Attachment)
	}
	return all
}
