// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Calls of many containers at once wait for each other, and each would read and
// write the same tables. So the one whose turn it is does the work of those that
// wait along with its own, where that is but a few rules more in the same
// transaction. Should it fail, it does its own alone, and they theirs.

// companions are the calls whose work another one does.
type companions []store.Request

// newcomers returns the waiting ADDs that can be done along with one: of
// containers that have nothing yet, in the same backend, and on bridges of which
// nobody says otherwise than they do.
func (l live) newcomers(a policy.Attachment) companions {
	all := []policy.Attachment{a}
	return l.companions(verbAdd, func(b policy.Attachment) bool {
		otherwise := func(o policy.Attachment) bool {
			return o.Bridge == b.Bridge && (o.IngressPolicy != b.IngressPolicy || o.PublishedPorts != b.PublishedPorts)
		}
		if b.Backend != a.Backend || len(l.of(b)) > 0 || slices.ContainsFunc(all, otherwise) ||
			slices.ContainsFunc(l.Entries, func(e store.Entry) bool { return otherwise(e.Attachment) }) {
			return false
		}
		all = append(all, b)
		return true
	})
}

// leavers returns the waiting DELs of containers whose records say what they have.
func (l live) leavers() companions {
	return l.companions(verbDel, func(b policy.Attachment) bool { return len(l.of(b)) > 0 })
}

func (l live) companions(verb string, fits func(policy.Attachment) bool) companions {
	if l.store == nil {
		return nil
	}
	var found companions
	for _, r := range l.store.Requests(l.Listing, verb) {
		if fits(r.Attachment) {
			found = append(found, r)
		} else {
			r.Ignore()
		}
	}
	return found
}

// share does something for an attachment and for the companions, who are told. Where
// that fails, one of them may be why: then it is done for the attachment alone, and
// they do their own.
func (c companions) share(a policy.Attachment, do func(all ...policy.Attachment) error) error {
	if len(c) == 0 {
		return do(a)
	}
	all := []policy.Attachment{a}
	for _, r := range c {
		all = append(all, r.Attachment)
	}
	err := do(all...)
	for _, r := range c {
		if err == nil {
			r.Done()
		} else {
			r.Ignore()
		}
	}
	if err != nil {
		return do(a)
	}
	return nil
}
