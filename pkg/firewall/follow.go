// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// A bridge that is renamed, or deleted and made anew, under running containers has
// lost the rules, which know it by its name. The records are followed to the name that
// the bridge of their ports has now: a record whose port lives is never stale.

// moved is an entry whose bridge has another name or number now.
type moved struct {
	at    int // in Entries
	entry store.Entry
	now   policy.Attachment // as far as the entry tells
}

// follow puts the rules on the bridges that recorded ports are on now, and takes them
// off the names that no bridge has any more.
func (fw *Engine) follow(r records) records {
	all, err := r.moved()
	fw.warn(err)
	if len(all) == 0 {
		return r
	}
	var gone []string
	var followed []policy.Attachment
	old := policy.RuleSet{Inbound: map[netip.Prefix][]string{}} // what the table accepts by the old name
	for _, m := range all {
		whole, err := r.store.Read(m.entry)
		if err == nil {
			whole.Bridge, whole.BridgeIndex = m.now.Bridge, m.now.BridgeIndex
			err = whole.CheckNames()
		}
		if err == nil {
			err = r.store.Put(whole, []store.Entry{m.entry})
		}
		if err != nil {
			fw.warn(err)
			continue
		}
		r.Entries[m.at] = store.NewEntry(whole)
		gone, followed = append(gone, m.entry.Attachment.Bridge), append(followed, whole)
		if was := m.entry.Attachment; was.Bridge != whole.Bridge && was.Backend.AcceptsIn(policy.Table) {
			for _, p := range was.Addresses {
				old.Addresses, old.Inbound[p] = append(old.Addresses, p), []string{was.Bridge}
			}
		}
	}
	desired := fw.desired(r, nil, followed)
	actual, err := fw.drivers.readAll(desired, needsAll(desired))
	if err = errors.Join(err, fw.apply(&r, actual, desired, policy.Desired(r.briefs()...), nil)); err != nil {
		fw.warn(err) // the call's own work tells whether it is in the way
		return r
	}
	d := newRemoval()
	for _, bridge := range gone {
		d.add(policy.Attachment{Bridge: bridge})
	}
	fw.warn(fw.remove(r, d))
	if len(old.Addresses) > 0 {
		missing, err := fw.drivers.remove(policy.Table, old)
		fw.warn(missing, err)
	}
	return r
}

// followed returns the records under the names that the bridges have now, and writes
// nothing.
func (r records) followed() (records, error) {
	all, err := r.moved()
	if len(all) > 0 {
		r.Entries = slices.Clone(r.Entries)
	}
	for _, m := range all {
		r.Entries[m.at].Attachment = m.now
	}
	return r, err
}

// moved returns the entries whose bridge has another name or number by now. It asks for
// each bridge once, and for single ports only where the bridge is gone.
func (r records) moved() ([]moved, error) {
	if r.Unlisted != nil {
		return nil, r.Unlisted
	}
	var indices []int
	for i := range r.Entries {
		if index := r.Entries[i].Attachment.BridgeIndex; index != 0 && !slices.Contains(indices, index) {
			indices = append(indices, index)
		}
	}
	if len(indices) == 0 {
		return nil, nil
	}
	names, err := r.links.Names(indices)
	if err != nil {
		return nil, err
	}
	var all []moved
	var errs []error
	for i, e := range r.Entries {
		now := e.Attachment
		switch name, exists := names[now.BridgeIndex]; {
		case now.BridgeIndex == 0 || exists && name == now.Bridge:
			continue
		case exists:
			now.Bridge = name
		default:
			found, err := r.bridgeNow(e)
			errs = append(errs, err)
			if found.Bridge == "" {
				continue // its port is gone, or on no bridge
			}
			now.Bridge, now.BridgeIndex = found.Bridge, found.BridgeIndex
		}
		all = append(all, moved{i, e, now})
	}
	return all, errors.Join(errs...)
}

// bridgeNow returns the bridge that the port of an entry is on, if it is on one.
func (r records) bridgeNow(e store.Entry) (policy.Attachment, error) {
	a, err := r.store.Read(e)
	if err != nil || isAdopted(&e) {
		return policy.Attachment{}, err
	}
	bridge, err := masterOf(r.links, a.PortIndex)
	if !bridge.IsBridge() {
		return policy.Attachment{}, err
	}
	return policy.Attachment{Bridge: bridge.Name, BridgeIndex: bridge.Index}, err
}

// portLives reports whether the port of an attachment is still there.
func (r records) portLives(a policy.Attachment) (bool, error) {
	if a.PortIndex != 0 {
		names, err := r.links.Names([]int{a.PortIndex})
		return len(names) > 0, err
	}
	found, err := r.links.Existing([]string{a.Port})
	return a.Port != "" && len(found) > 0, err
}

// Moved reports whether a recorded bridge has another name, or was made anew, so that a
// restore has something to do. It takes no lock.
func (fw *Engine) Moved() (bool, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return false, err
	}
	all, err := fw.storage.list(s).moved()
	return len(all) > 0, err
}
