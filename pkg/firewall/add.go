// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Verbs whose work one call can do for others that wait.
const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// Add records an attachment, isolates all bridges in use and accepts what the
// attachment's addresses send. Repeated, it changes nothing, or repairs what
// somebody changed. deliver hands the result to the runtime; if it fails, Add
// rolls back, for the runtime will not know of the attachment.
func (fw *Engine) Add(a policy.Attachment, deliver func() error) error {
	a, strays, err := fw.located(a)
	if err != nil {
		return err
	}
	if a, err = fw.withBackend(a); err != nil {
		return err
	}
	r, unlock, done, err := fw.storage.lockFor(verbAdd, a)
	if err != nil {
		return err
	}
	defer unlock()
	if done {
		if err := deliver(); err != nil {
			return errors.Join(err, fw.detach(fw.storage.list(r.store), a))
		}
		return nil
	}
	r = fw.follow(r)
	if err := r.checkGroups(a, strays); err != nil {
		return err
	}
	h, err := fw.foreign(r, a)
	fw.warn(err, fw.adopt(&r, h, func() (policy.Backend, error) { return a.Backend, nil }))
	a = r.asStated(a)
	return r.pendingAdds(a).run(a, func(all ...policy.Attachment) error { return fw.add(r, h, deliver, all) })
}

// foreign returns what iptables holds where neither a record nor the attachment is of it:
// rules of an earlier plugin.
func (fw *Engine) foreign(r records, a policy.Attachment) (held, error) {
	if slices.Contains(append(driversOf(r.Entries), a.Backend.Drivers()...), policy.Filter) {
		return nil, nil
	}
	return fw.drivers.held(policy.Filter)
}

// withBackend returns an attachment with the backend that its network uses, whose rules
// can name all of its interfaces.
func (fw *Engine) withBackend(a policy.Attachment) (policy.Attachment, error) {
	var err error
	if a.Backend == "" {
		a.Backend, err = fw.drivers.choose()
	}
	if err == nil {
		a, err = withNames(a)
	}
	if err == nil {
		fw.about(a)
	}
	return a, err
}

func familiesOf(all []policy.Attachment) policy.Families {
	var families policy.Families
	for _, a := range all {
		families |= a.Families()
	}
	return families
}
