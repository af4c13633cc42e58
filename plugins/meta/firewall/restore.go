// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// restore replays all records of the network namespace, after a flush or a
// restart of the firewall. The error says what could not be restored.
// With adopting, what an earlier plugin isolates is recorded first, and its rules
// go last.
func (p plugin) restore(dataDir string, adopting bool) error {
	l, unlock, err := p.locked(dataDir)
	if err != nil {
		return err
	}
	defer unlock()

	p.warn(l.forgetLeaving(""))
	l, buryErr := p.bury(l)
	var found earlier
	var adoptErr error
	if adopting {
		found, adoptErr = p.adopt(&l)
	}
	all, unreadable := l.attachments()
	// Bridges whose records are damaged are isolated all the same.
	isolated := append(l.briefs(), all...)
	sets, before := policy.ByDriver(isolated, all), policy.Desired(isolated...)
	h, err := p.readAll(sets, wholly(sets))
	// What cannot be read keeps nothing else from being isolated.
	err = errors.Join(err, h.apply(sets, before, nil), adoptErr)
	if err == nil { // else what is there may be all that isolates
		err = found.clean(l)
	}
	if err := errors.Join(err, buryErr, unreadable, errors.Join(l.Problems...)); err != nil {
		return fmt.Errorf("not everything could be restored: %w", err)
	}
	return p.tell(l, len(before.Bridges))
}

func (p plugin) tell(l live, bridges int) error {
	adopted := 0
	for _, e := range l.Entries {
		if isAdopted(&e) {
			adopted++
		}
	}
	more := ""
	if adopted > 0 {
		more = fmt.Sprintf(", %d adopted", adopted)
	}
	_, err := fmt.Fprintf(p.stdout, "restored %s on %s%s\n", count(len(l.Entries)-adopted, "attachment"), count(bridges, "bridge"), more)
	return err
}

// bury removes the attachments whose bridge or port no longer exists: those of a
// host's past, and of a DEL that died after the rules were gone.
func (p plugin) bury(l live) (live, error) {
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
		err = errors.Join(err, p.depart(l, d))
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
