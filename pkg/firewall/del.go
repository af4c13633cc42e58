// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"errors"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Del removes what the attachment has, and its bridge's isolation with the last
// one on it. What is not there is no error.
func (fw *Engine) Del(a policy.Attachment) error {
	l, unlock, done, err := fw.lockedFor(verbDel, a)
	l, unlock, err = fw.evenWithout(l, unlock, err)
	if err != nil {
		return err
	}
	defer unlock()
	if done {
		return nil
	}
	fw.host.About(asRecorded(a, l.of(a)))
	return l.leavers().share(a, func(all ...policy.Attachment) error { return fw.detach(l, all...) })
}

// asRecorded returns an attachment with what its records say and a DEL need not.
func asRecorded(a policy.Attachment, own []store.Entry) policy.Attachment {
	a.Backend = backendOf(own, a.Backend)
	if len(own) > 0 {
		a.Bridge = cmp.Or(a.Bridge, own[0].Attachment.Bridge)
	}
	return a
}

// detach takes attachments away.
func (fw *Engine) detach(l live, all ...policy.Attachment) error {
	d := newDeparture()
	for _, a := range all {
		d.leave(a)
		own := l.of(a)
		for _, e := range own {
			fw.warn(l.part(d, e))
		}
		d.unrecorded = d.unrecorded || len(own) == 0 && (len(d.addresses) > 0 || len(d.bridges) > 0)
	}
	fw.warn(l.partStale(d))
	return fw.depart(l, d)
}

// evenWithout goes on without a lock and records where there is no place for them:
// a disk that is full or read-only must not keep a container from going.
func (fw *Engine) evenWithout(l live, unlock func(), err error) (live, func(), error) {
	if errors.Is(err, store.ErrLocked) {
		return live{}, nil, err
	}
	if err != nil {
		fw.warn(err)
		return live{}, func() {}, nil
	}
	fw.warn(l.forgetLeaving(""))
	return l, unlock, nil
}
