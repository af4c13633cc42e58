// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Del removes what an attachment has, and with the last one its bridge's isolation.
// What is not there is no error.
func (fw *Engine) Del(a policy.Attachment) error {
	r, unlock, done, err := fw.storage.lockFor(verbDel, a)
	r, unlock, err = fw.storage.orNone(r, unlock, err)
	if err != nil {
		return err
	}
	defer unlock()
	if done {
		return nil
	}
	r = fw.follow(r)
	fw.about(asRecorded(a, r.of(a)))
	return r.pendingDels().run(a, func(all ...policy.Attachment) error { return fw.detach(r, all...) })
}

// asRecorded returns an attachment with what a DEL need not say and its records do.
func asRecorded(a policy.Attachment, own []store.Entry) policy.Attachment {
	a.Backend = backendOf(own, a.Backend)
	if len(own) > 0 {
		a.Bridge = cmp.Or(a.Bridge, own[0].Attachment.Bridge)
	}
	return a
}

// detach removes attachments, and along with them what is stale.
func (fw *Engine) detach(r records, all ...policy.Attachment) error {
	d := newRemoval()
	for _, a := range all {
		own := r.of(a)
		if len(own) > 0 {
			a.Interfaces = own[0].Attachment.Interfaces // the others were not the network's
		}
		d.add(a)
		for _, e := range own {
			fw.warn(r.addTo(d, e))
		}
		d.unrecorded = d.unrecorded || len(own) == 0 && (len(d.addresses) > 0 || len(d.bridges) > 0)
	}
	fw.warn(r.addStale(d), r.addGone(d))
	return fw.remove(r, d)
}
