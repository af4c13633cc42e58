// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// Restored counts what Restore put back.
type Restored struct{ Attachments, Bridges, Adopted int }

// Restore puts back what all records of the network namespace ask for, after a flush
// or a restart of the firewall. What another plugin isolates is recorded first; what
// nobody owns goes last. The error says what could not be restored.
func (fw *Engine) Restore() (Restored, error) {
	r, unlock, err := fw.storage.lock()
	if err != nil {
		return Restored{}, err
	}
	defer unlock()

	fw.warn(r.forgetGone())
	r = fw.follow(r)
	r, staleErr := fw.removeStale(r)
	h, heldErr := fw.drivers.held(policy.Filter, policy.Table)
	adoptErr := fw.adopt(&r, h, fw.Choose)
	all, unreadable := r.attachments()
	before, desired := policy.Desired(r.briefs()...), fw.desired(r, nil, all)
	actual, err := fw.drivers.readAll(desired, needsAll(desired))
	// What cannot be read keeps nothing else from being isolated.
	err = errors.Join(err, fw.apply(&r, actual, desired, before, nil), heldErr, adoptErr)
	fw.warn(fw.forgetForged(r, nil, actual.guarded()))
	if err == nil { // else what is there may be all that isolates
		err = errors.Join(fw.removeStandalone(h), fw.removeUnowned(r, h, nil), actual.removeFormer(desired))
	}
	if err := errors.Join(err, staleErr, unreadable, errors.Join(r.Problems...)); err != nil {
		return Restored{}, fmt.Errorf("not everything could be restored: %w", err)
	}
	return restored(r, len(before.Bridges)), nil
}

// removeStandalone removes the rules of the standalone plugin.
func (fw *Engine) removeStandalone(h held) error {
	if _, has := h[policy.Filter]; !has {
		return nil
	}
	installed, _ := fw.drivers.all[policy.Filter].Installed(policy.BothFamilies)
	actual, err := fw.drivers.all[policy.Filter].Read(installed)
	if err != nil && !iptables.IsUnusable(err) {
		return err
	}
	return actual.RemoveForeign()
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
