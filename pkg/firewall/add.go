// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/iptables"
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
	c, err := fw.drivers.chooseIfUnnamed(a.Backend) // ahead of the lock: firewalld may take its time
	if err != nil {
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
	return fw.addOne(r, a, strays, c, deliver)
}

// addOne adds an attachment, along with those that wait. Where its network names no
// backend, and iptables, which was chosen, turns out not to work, nftables takes its place.
func (fw *Engine) addOne(
	r records, located policy.Attachment, strays []string, c choice, deliver func() error,
) error {
	a, err := fw.drivers.withBackend(r, located, c)
	if err != nil {
		return err
	}
	fw.about(a)
	fw.warn(c.differs(a.Backend, r.Entries))
	r = fw.follow(r)
	if err := r.checkGroups(a, strays); err != nil {
		return err
	}
	h, err := fw.foreign(r, a)
	fw.warn(err, fw.adopt(&r, h, func() (policy.Backend, error) { return a.Backend, nil }))
	a = r.asStated(a)
	batch := r.pendingAdds(a, func(b policy.Attachment) (policy.Attachment, error) { return fw.drivers.withBackend(r, b, c) })
	err = batch.run(a, func(all ...policy.Attachment) error { return fw.add(r, h, deliver, all) })
	if c.backend == "" || !fw.drivers.isUnusable(a.Backend, err) {
		return fw.inWords(err)
	}
	located.Backend = policy.NFTables
	if failed := fw.addOne(r, located, strays, choice{}, deliver); failed != nil {
		return errors.Join(failed, err)
	}
	fw.warn(insteadOfIPTables(err))
	return nil
}

// foreign returns what iptables holds where neither a record nor the attachment is of it:
// rules of an earlier plugin.
func (fw *Engine) foreign(r records, a policy.Attachment) (held, error) {
	isUsed := slices.Contains(append(driversOf(r.Entries), a.Backend.Drivers()...), policy.Filter)
	if isUsed || !fw.drivers.all[policy.Filter].MayIsolate() {
		return nil, nil
	}
	return fw.drivers.held(policy.Filter)
}

// inWords explains that iptables does not work. Any other error of a call speaks for
// itself.
func (fw *Engine) inWords(err error) error {
	if errors.Is(err, iptables.ErrUnusable) {
		return fw.explained(err)
	}
	return err
}

func familiesOf(all []policy.Attachment) policy.Families {
	var families policy.Families
	for _, a := range all {
		families |= a.Families()
	}
	return families
}
