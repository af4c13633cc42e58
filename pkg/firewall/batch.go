// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Calls for many containers at once wait for each other, and each would read and
// write the same rules. So the call that has the lock does the work of the calls
// that wait, where that takes just a few more rules in the same transaction. If it
// fails, it does its own work alone, and they do theirs.

// batch is the waiting calls whose work another call does.
type batch []store.PendingCall

// pendingAdds returns the waiting ADDs that can be done along with one: for
// containers that have nothing yet, in the same backend, and on bridges about which
// nobody disagrees with them. withBackend gives one that names no backend its own.
func (r records) pendingAdds(
	a policy.Attachment, withBackend func(policy.Attachment) (policy.Attachment, error),
) batch {
	all := []policy.Attachment{a}
	return r.pending(verbAdd, func(b *policy.Attachment) bool {
		var err error
		if *b, err = withBackend(*b); err != nil {
			return false
		}
		disagrees := func(o policy.Attachment) bool {
			return o.Bridge == b.Bridge &&
				(o.IngressPolicy != b.IngressPolicy || o.PublishedPorts != b.PublishedPorts)
		}
		if b.Backend != a.Backend || len(r.of(*b)) > 0 || slices.ContainsFunc(all, disagrees) ||
			slices.ContainsFunc(r.Entries, func(e store.Entry) bool { return disagrees(e.Attachment) }) {
			return false
		}
		all = append(all, *b)
		return true
	})
}

// pendingDels returns the waiting DELs of containers whose records say what they have.
func (r records) pendingDels() batch {
	return r.pending(verbDel, func(b *policy.Attachment) bool { return len(r.of(*b)) > 0 })
}

func (r records) pending(verb string, fits func(*policy.Attachment) bool) batch {
	if r.store == nil {
		return nil
	}
	var found batch
	for _, call := range r.store.Pending(r.Listing, verb) {
		if fits(&call.Attachment) {
			found = append(found, call)
		} else {
			call.Ignore()
		}
	}
	return found
}

// run does something for an attachment and for those of the batch, whose calls are
// told. If that fails, one of the batch may be why: then it is done for the
// attachment alone, and the others do their own.
func (b batch) run(a policy.Attachment, do func(all ...policy.Attachment) error) error {
	if len(b) == 0 {
		return do(a)
	}
	all := []policy.Attachment{a}
	for _, call := range b {
		all = append(all, call.Attachment)
	}
	err := do(all...)
	for _, call := range b {
		if err == nil {
			call.Done()
		} else {
			call.Ignore()
		}
	}
	if err != nil {
		return do(a)
	}
	return nil
}
