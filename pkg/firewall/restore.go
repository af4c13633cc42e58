// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Restored counts what Restore put back.
type Restored struct{ Attachments, Bridges, Adopted int }

// Restore puts back what all records of the network namespace ask for, after a flush
// or a restart of the firewall. The error says what could not be restored. With
// adopting, what another plugin isolates is recorded first, and its rules go last.
func (fw *Engine) Restore(adopting bool) (Restored, error) {
	r, unlock, err := fw.storage.lock()
	if err != nil {
		return Restored{}, err
	}
	defer unlock()

	fw.warn(r.forgetGone())
	r = fw.follow(r)
	r, staleErr := fw.removeStale(r)
	var found foreign
	var adoptErr error
	if adopting {
		found, adoptErr = fw.adopt(&r)
	}
	all, unreadable := r.attachments()
	before, desired := policy.Desired(r.briefs()...), fw.desired(r, nil, all)
	actual, err := fw.drivers.readAll(desired, needsAll(desired))
	// What cannot be read keeps nothing else from being isolated.
	err = errors.Join(err, fw.apply(&r, actual, desired, before, nil), adoptErr)
	if err == nil { // else what is there may be all that isolates
		err = fw.removeForeign(found, r)
	}
	if err := errors.Join(err, staleErr, unreadable, errors.Join(r.Problems...)); err != nil {
		return Restored{}, fmt.Errorf("not everything could be restored: %w", err)
	}
	return restored(r, len(before.Bridges)), nil
}

func restored(r records, bridges int) Restored {
	counts := Restored{Bridges: bridges}
	for _, e := range r.Entries {
		if isAdopted(&e) {
			counts.Adopted++
		}
	}
	counts.Attachments = len(r.Entries) - counts.Adopted
	return counts
}
