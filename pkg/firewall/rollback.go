// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// A rollback returns the host to what it was before a failed ADD: zones, port flags,
// rules, records. Where it fails, what may still be trusted stays isolated, and the
// records stay for the next call. It never opens: missing isolation that the records
// asked for, and that the ADD put back, stays.

// undo is a step of a rollback.
type undo func() error

// undoAll does steps last to first, and goes on after an error.
func undoAll(steps []undo) error {
	var errs []error
	for _, step := range slices.Backward(steps) {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}

// rollback undoes what a failed ADD did to drivers and ports. forget undoes the
// records, unless something is left that they have to speak of.
func (fw *Engine) rollback(
	r records, actual snapshots, added []policy.Attachment, desired policy.RuleSets, forget undo,
) error {
	c := change{added, desired, r.before(added), driversOf(r.Entries)}
	if err := c.rollback(actual, policy.Zones); err != nil {
		return err // what is still trusted must stay isolated
	}
	var errs []error
	for _, a := range added {
		errs = append(errs, fw.ports.rollback(&r, a, bridgeBefore(a, c.before)))
	}
	for _, name := range slices.Backward(closing) {
		if !name.Opens() {
			errs = append(errs, c.rollback(actual, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return forget()
}

// change is what an ADD was to do.
type change struct {
	added   []policy.Attachment
	desired policy.RuleSets
	before  policy.RuleSet      // what the records asked for of its bridges
	used    []policy.DriverName // that records named before
}

// rollback undoes what was done to one driver. If no record named it before, none
// will: then the isolation of all other bridges goes with the rest.
func (c change) rollback(actual snapshots, name policy.DriverName) error {
	snapshot, read := actual[name]
	if !read {
		return nil
	}
	if !slices.Contains(c.used, name) {
		return snapshot.Rollback(c.desired[name], false)
	}
	var errs []error
	for _, a := range c.added {
		isolated := bridgeBefore(a, c.before).IngressPolicy.Isolates()
		rs := policy.Desired(a)
		rs.Ports = c.desired[name].On(a.Bridge).Ports // others', too, where the policy changed
		errs = append(errs, snapshot.Rollback(rs, isolated))
	}
	return errors.Join(errs...)
}

// bridgeBefore returns what the records asked for of an attachment's bridge.
func bridgeBefore(a policy.Attachment, before policy.RuleSet) policy.Bridge {
	if known := before.On(a.Bridge).Bridges; len(known) > 0 {
		return known[0]
	}
	return policy.Bridge{Name: a.Bridge, IngressPolicy: policy.Open}
}

// rollback gives a bridge's ports back the flags of its previous policy.
func (p ports) rollback(r *records, a policy.Attachment, before policy.Bridge) error {
	if !a.IngressPolicy.Separates() && !before.IngressPolicy.Separates() {
		return nil
	}
	return p.flagOf(r, before, p.links.Filtered)
}

// record writes the attachments' records, and takes their addresses out of zones
// that they were in. forget undoes both.
func (fw *Engine) record(r records, added []policy.Attachment) (forget undo, err error) {
	var steps []undo
	forget = func() error { return undoAll(steps) }
	fw.warn(r.forgetGone())
	for _, a := range added {
		for _, step := range []func() (undo, error){
			func() (undo, error) { return fw.leaveZone(r, a) },
			func() (undo, error) { return r.write(a) },
		} {
			back, err := step()
			if err != nil {
				return nil, errors.Join(err, forget())
			}
			steps = append(steps, back)
		}
	}
	return forget, nil
}

// write writes one record. An earlier one that tells of rules which the attachment has
// no more stays until these are gone.
func (r records) write(a policy.Attachment) (undo, error) {
	own := slices.DeleteFunc(r.of(a), func(e store.Entry) bool { return outdates(a, e.Attachment) })
	back := func() error { return r.store.Remove(store.NewEntry(a)) }
	if len(own) > 0 {
		if before, err := r.store.Read(own[0]); err == nil {
			back = func() error { return r.store.Put(before, []store.Entry{store.NewEntry(a)}) }
		}
	}
	return back, r.store.Put(a, own)
}

// leaveZone takes the attachment out of its firewalld zone, where its network
// names another one by now. That goes ahead of the record, which from then on
// knows only the new zone.
func (fw *Engine) leaveZone(r records, a policy.Attachment) (undo, error) {
	back := func() error { return nil }
	for _, e := range r.of(a) {
		if a.Backend != policy.Firewalld || e.Attachment.Backend != policy.Firewalld {
			continue
		}
		previous, err := r.store.Read(e)
		if err != nil || previous.Zone == a.Zone {
			continue // what cannot be read is left alone
		}
		rs := policy.Desired(previous)
		zones, warning, err := fw.drivers.read(policy.Zones, previous.Families(), previous.Families())
		fw.warn(warning)
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
