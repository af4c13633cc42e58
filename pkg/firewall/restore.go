// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// Restore replays all records of the network namespace, after a flush or a
// restart of the firewall. The error says what could not be restored.
// With adopting, what an earlier plugin isolates is recorded first, and its rules
// go last.
func (fw *Engine) Restore(adopting bool) (Restored, error) {
	l, unlock, err := fw.locked()
	if err != nil {
		return Restored{}, err
	}
	defer unlock()

	fw.warn(l.forgetLeaving(""))
	l, buryErr := fw.bury(l)
	var found earlier
	var adoptErr error
	if adopting {
		found, adoptErr = fw.adopt(&l)
	}
	all, unreadable := l.attachments()
	// Bridges whose records are damaged are isolated all the same.
	isolated := append(l.briefs(), all...)
	sets, before := policy.ByDriver(isolated, all), policy.Desired(isolated...)
	h, err := fw.readAll(sets, wholly(sets))
	// What cannot be read keeps nothing else from being isolated.
	err = errors.Join(err, h.apply(sets, before, nil), adoptErr)
	if err == nil { // else what is there may be all that isolates
		err = found.clean(l)
	}
	if err := errors.Join(err, buryErr, unreadable, errors.Join(l.Problems...)); err != nil {
		return Restored{}, fmt.Errorf("not everything could be restored: %w", err)
	}
	return restored(l, len(before.Bridges)), nil
}

// Restored counts what Restore put back.
type Restored struct{ Attachments, Bridges, Adopted int }

func restored(l live, bridges int) Restored {
	r := Restored{Bridges: bridges}
	for _, e := range l.Entries {
		if isAdopted(&e) {
			r.Adopted++
		}
	}
	r.Attachments = len(l.Entries) - r.Adopted
	return r
}

// bury removes the attachments whose bridge or port no longer exists: those of a
// host's past, and of a DEL that died after the rules were gone.
func (fw *Engine) bury(l live) (live, error) {
	d := newDeparture()
	err := l.partStale(d)
	for _, e := range l.Entries {
		a, readErr := l.store.Read(e)
		if readErr != nil || a.Port == "" {
			continue // told of when it is replayed
		}
		found, existErr := link.Existing([]string{a.Port})
		if existErr == nil && len(found) == 0 {
			existErr = l.part(d, e)
		}
		err = errors.Join(err, existErr)
	}
	if len(d.records) > 0 {
		err = errors.Join(err, fw.depart(l, d))
	}
	l.Entries = l.staying(d)
	return l, err
}

// attachments reads all records. The error names those that cannot be read.
func (l live) attachments() ([]policy.Attachment, error) {
	var all []policy.Attachment
	var errs []error
	for _, e := range l.Entries {
		a, err := l.store.Read(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, a)
	}
	return all, errors.Join(errs...)
}
