// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// outdates reports whether an earlier record of an attachment tells of rules that it has
// no more: in another backend, of another address, or on another bridge.
func outdates(a, earlier policy.Attachment) bool {
	isGone := func(p netip.Prefix) bool { return !slices.Contains(a.Addresses, p) }
	return earlier.Backend != a.Backend || earlier.Bridge != a.Bridge ||
		!slices.Equal(earlier.Interfaces, a.Interfaces) || slices.ContainsFunc(earlier.Addresses, isGone)
}

// isSucceededBy reports whether an attachment has an address of an entry whose port is
// gone.
func (r records) isSucceededBy(a policy.Attachment, e *store.Entry) bool {
	has := func(p netip.Prefix) bool { return slices.Contains(a.Addresses, p) }
	if !slices.ContainsFunc(e.Attachment.Addresses, has) || e.Key == keyOf(a) { // a hash, asked last
		return false
	}
	gone, err := r.isGone(*e)
	return gone && err == nil
}

// removeReplaced removes what an added attachment replaces: what it had under an earlier
// configuration, what was adopted of its bridge, and what a container has left that had
// one of its addresses, and was deleted without this plugin.
func (fw *Engine) removeReplaced(r records, a policy.Attachment) error {
	key := keyOf(a)
	d := newRemoval()
	for _, e := range r.Entries {
		isOld := e.Key == key && outdates(a, e.Attachment)
		if !isOld && !supersedes(a, &e) && !r.isSucceededBy(a, &e) {
			continue
		}
		if err := removable(e); err != nil {
			fw.warn(err)
			continue
		}
		previous, err := r.store.Read(e)
		fw.warn(err)
		previous.Backend, previous.Addresses = e.Attachment.Backend, e.Attachment.Addresses
		previous.Bridge, previous.Interfaces = e.Attachment.Bridge, e.Attachment.Interfaces
		if isOld {
			previous.Port, previous.PortIndex = "", 0 // it may be the attachment's, and is not cut off
		}
		d.add(previous)
		d.records[e.File()] = e
	}
	if len(d.records) == 0 {
		return nil
	}
	r.Entries = append(r.Entries, store.NewEntry(a))
	return fw.remove(r, d)
}
