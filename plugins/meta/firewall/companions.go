// SPDX-License-Identifier: Apache-2.0

package main

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

// with returns an attachment and those of the companions.
func (c companions) with(a policy.Attachment) []policy.Attachment {
	all := []policy.Attachment{a}
	for _, r := range c {
		all = append(all, r.Attachment)
	}
	return all
}

// done tells the companions that their work is done.
func (c companions) done() {
	for _, r := range c {
		r.Done()
	}
}

// ignore leaves their work to them.
func (c companions) ignore() {
	for _, r := range c {
		r.Ignore()
	}
}
