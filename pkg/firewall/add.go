// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Verbs whose work one call can do for others that wait.
const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// Add records the attachment, isolates all bridges in use and forwards the
// attachment's addresses. Repeated, it changes nothing, or puts right what
// somebody changed.
// deliver hands the result to the runtime, ahead of what a failure could still undo.
func (fw *Engine) Add(a policy.Attachment, deliver func() error) error {
	a, err := fw.withBackend(a)
	if err != nil {
		return err
	}
	l, unlock, done, err := fw.lockedFor(verbAdd, a)
	if err != nil {
		return err
	}
	defer unlock()
	if done {
		if err := deliver(); err != nil {
			return errors.Join(err, fw.detach(fw.remember(l.store), a))
		}
		return nil
	}
	return l.newcomers(a).share(a, func(all ...policy.Attachment) error { return fw.attach(l, deliver, all...) })
}

// attach adds the attachment of a call, which comes first, and those of its
// companions, or none.
func (fw *Engine) attach(l live, deliver func() error, all ...policy.Attachment) error {
	takeBack, err := fw.record(l, all)
	if err != nil {
		return err
	}
	own := all[0]
	before, sets := l.before(bridgesOf(all)), l.with(all...)
	h, err := fw.readAll(sets, neededFor(own.Backend, familiesOfAll(all)))
	if err == nil {
		err = h.apply(sets, before, bridgesOf(all))
	}
	if err == nil {
		err = deliver()
	}
	if err != nil {
		undoErr := h.undo(all, before)
		if undoErr == nil { // else the records say what is still to be undone
			undoErr = takeBack()
		}
		return errors.Join(err, undoErr)
	}
	for _, a := range all {
		fw.warn(l.convert(a), fw.leaveFormer(l, a))
	}
	fw.warn(fw.explained(h.obstacles(own.Backend).All()))
	return nil
}

func bridgesOf(all []policy.Attachment) []string {
	var names []string
	for _, a := range all {
		if a.Bridge != "" {
			names = append(names, a.Bridge)
		}
	}
	return names
}

func familiesOfAll(all []policy.Attachment) policy.Families {
	var families policy.Families
	for _, a := range all {
		families |= a.Families()
	}
	return families
}

// record writes the attachments' records, before any rule, so that whatever happens
// next there is something that can be finished or undone. takeBack brings the
// former state back.
func (fw *Engine) record(l live, all []policy.Attachment) (takeBack func() error, err error) {
	var undo []func() error
	takeBack = func() error {
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	for _, a := range all {
		fw.warn(l.forgetLeaving(a.Port))
		returnToZone, err := fw.leaveZone(l, a)
		if err != nil {
			return nil, errors.Join(err, takeBack())
		}
		undo = append(undo, returnToZone)
		forget, err := l.record(a)
		if err != nil {
			return nil, errors.Join(err, takeBack())
		}
		undo = append(undo, forget)
	}
	return takeBack, nil
}

// record writes one record. One of another backend stays, until that one's rules
// are gone.
func (l live) record(a policy.Attachment) (takeBack func() error, err error) {
	own := l.of(a)
	own = slices.DeleteFunc(own, func(e store.Entry) bool { return e.Attachment.Backend != a.Backend })
	takeBack = func() error { return l.store.Remove(store.NewEntry(a)) }
	if len(own) > 0 {
		if before, err := l.store.Read(own[0]); err == nil {
			takeBack = func() error { return l.store.Put(before, []store.Entry{store.NewEntry(a)}) }
		}
	}
	return takeBack, l.store.Put(a, own)
}

// leaveFormer takes away what the attachment has in other backends, now that it
// is in the one of its configuration, and what was adopted of its bridge.
func (fw *Engine) leaveFormer(l live, a policy.Attachment) error {
	key := keyOf(a)
	d := newDeparture()
	for _, e := range l.Entries {
		if e.Key == key && e.Attachment.Backend != a.Backend || supersedes(a, &e) {
			former, err := l.store.Read(e)
			fw.warn(err)
			d.leave(policy.Attachment{Backend: e.Attachment.Backend, Addresses: e.Attachment.Addresses, Zone: former.Zone})
			d.records[e.File()] = e
		}
	}
	if len(d.records) == 0 {
		return nil
	}
	l.Entries = append(l.Entries, store.NewEntry(a))
	return fw.depart(l, d)
}

// leaveZone takes the attachment out of the firewalld zone that it was in until
// now, where its network names another one. It goes ahead of the record, which
// from then on knows only the new one. back undoes it.
func (fw *Engine) leaveZone(l live, a policy.Attachment) (back func() error, err error) {
	back = func() error { return nil }
	for _, e := range l.of(a) {
		if a.Backend != policy.Firewalld || e.Attachment.Backend != policy.Firewalld {
			continue
		}
		former, err := l.store.Read(e)
		if err != nil || former.Zone == a.Zone {
			continue // what cannot be read is left alone
		}
		rs := policy.Desired(former)
		zones, err := fw.read(policy.Zones, former.Families(), former.Families())
		if err == nil {
			err = zones.Remove(rs)
		}
		if err != nil {
			return back, err
		}
		back = func() error { return zones.Apply(rs, nil) }
	}
	return back, nil
}

// undo takes back what a failed ADD did to the bridges' ports, to zones and to the
// tables, in this order, so that what opens goes ahead of what isolates. Isolation
// that was missing and that the records asked for stays.
func (h held) undo(all []policy.Attachment, before policy.RuleSet) error {
	was := func(a policy.Attachment) policy.Bridge {
		if known := before.On(a.Bridge).Bridges; len(known) > 0 {
			return known[0]
		}
		return policy.Bridge{Name: a.Bridge, IngressPolicy: policy.Open}
	}
	var errs []error
	for _, a := range all {
		if b := was(a); a.IngressPolicy == policy.Isolated || b.IngressPolicy == policy.Isolated {
			errs = append(errs, flagPorts(b, link.Filtered))
		}
	}
	for _, driver := range slices.SortedFunc(maps.Keys(h), openingFirst) {
		for _, a := range all {
			errs = append(errs, h[driver].Rollback(policy.Desired(a), was(a).IngressPolicy.Isolates()))
		}
	}
	return errors.Join(errs...)
}
