// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// The order of work. Whatever fails or dies between two steps leaves traffic
// blocked, and something that the next call finishes.
//
//	ADD   record, port flags, rules (isolation and accepts in one transaction), zones,
//	      connections of the past, a port that was cut off, result
//	DEL   zones, with a bridge's last container its port, rules, connections, record
//
// The record comes first and goes last: it is what tells a later call of rules
// that may be there. Zones, which accept and isolate nothing, come last and go
// first: what firewalld trusts is isolated as long as it does.

// closing lists the drivers in the order in which they close. The table's drop
// holds whatever any other table accepts, so that it comes first; the filter
// tables come next; the zones only open. Removal goes the other way round.
var closing = []policy.DriverName{policy.Table, policy.Filter, policy.Zones}

// add records attachments, isolates every bridge, and accepts what the attachments
// send. If anything fails, it rolls back. What earlier plugins and boots left goes last.
func (fw *Engine) add(r records, h held, deliver func() error, added []policy.Attachment) error {
	desired, before := fw.desired(r, added, nil), r.before(added)
	forget, err := fw.record(r, added)
	if err != nil {
		return err
	}
	actual, err := fw.drivers.readAll(desired, needs(desired, added[0].Backend, familiesOf(added)))
	if err != nil {
		return errors.Join(err, forget()) // nothing else has changed
	}
	err = fw.apply(&r, actual, desired, before, added)
	if err == nil {
		fw.warn(fw.forgetOutdated(r, added, before, actual.guarded()), fw.forgetWaiting(r, added, before))
		err = fw.bringBack(r, added)
	}
	if err == nil {
		err = deliver()
	}
	if err != nil {
		return errors.Join(err, fw.rollback(r, actual, added, desired, forget))
	}
	fw.warn(fw.removeGuards(before.Ports, desired), fw.removeNeedless(&r, added, before, desired))
	fw.warn(actual.removeFormer(desired))
	for _, a := range added {
		fw.warn(r.convert(a), fw.removeReplaced(r, a))
	}
	if len(r.Entries) == 0 {
		h = actual.held(h)
	}
	if len(h) > 0 {
		fw.warn(fw.removeUnowned(r.with(added), h, bridgesOf(added)))
	}
	fw.warn(fw.explained(actual.obstacles(added[0].Backend).All()))
	return nil
}

// apply closes before it opens: the ports of isolated bridges, then each driver's
// rules, then zones if all of that succeeded. A bridge that was isolated until
// now, as its records or rules tell, loses the flags of its ports ahead of them:
// a crash between the two is healed by the next call. added are the attachments that the
// call is about; none stands for all.
func (fw *Engine) apply(
	r *records, actual snapshots, desired policy.RuleSets, before policy.RuleSet, added []policy.Attachment,
) error {
	about := bridgesOf(added)
	if err := fw.ports.flag(r, bridgesIn(desired), before, actual, about); err != nil {
		return err
	}
	var errs []error
	for _, name := range closing {
		snapshot, read := actual[name]
		if !read || name.Opens() && (errors.Join(errs...) != nil || snapshot.Families() == 0) {
			continue // why it could not be read was told
		}
		err := snapshot.Apply(desired[name], about)
		if len(added) > 0 && !added[0].Backend.AcceptsIn(name) && iptables.IsUnusable(err) {
			fw.warn(err) // the table, which closes first, isolates the bridges of iptables
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove takes the rules away: zones, then of each driver accepted addresses and
// isolation in one transaction; then the records. After an error the records
// stay, and the next call finishes.
func (fw *Engine) remove(r records, d *removal) error {
	fw.warn(r.markLeaving(d.ports))
	fw.keep(&r, d)
	empty, err := r.emptyBridges(d)
	errs := []error{err}
	if err := fw.cutOff(r, d, empty); err != nil {
		return err
	}
	forgotten := fw.forgetFlows(r, d)
	complete := true
	for _, name := range slices.Backward(fw.drivers.holding(r, d)) {
		rs, err := r.removed(d, name, empty)
		fw.warn(err) // what cannot be told stays isolated
		if rs.IsEmpty() {
			continue
		}
		missing, err := fw.drivers.remove(name, rs)
		if name.Opens() && !r.isAcceptedIn(name) {
			missing, err = errors.Join(missing, err), nil // nobody's record says that it holds anything
		}
		fw.warn(missing)
		complete = complete && missing == nil
		errs = append(errs, err)
		if err != nil && name.Opens() {
			break // what is still trusted must stay isolated
		}
	}
	fw.warn(forgotten())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if complete { // else the rules may be there all the same, for a call that finds the program
		for _, e := range d.records {
			fw.warn(r.store.Remove(e))
		}
	}
	return nil
}

// inOrder returns the drivers of backends that this version has, in the order in
// which they close.
func inOrder(used []policy.DriverName) []policy.DriverName {
	return slices.DeleteFunc(slices.Clone(closing), func(name policy.DriverName) bool {
		return !slices.Contains(used, name)
	})
}
