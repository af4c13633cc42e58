// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"maps"
	"slices"
)

// markLeaving remembers the ports that still exist: the bridge plugin takes them
// away after this plugin's DEL.
func (r *records) markLeaving(ports portSet) error {
	if r.store == nil {
		return nil
	}
	byName, err := r.links.Existing(ports.names)
	byIndex, indexErr := r.links.Names(ports.indices)
	errs := []error{err, indexErr}
	for _, index := range slices.Concat(slices.Collect(maps.Values(byName)), slices.Collect(maps.Keys(byIndex))) {
		errs = append(errs, r.store.MarkLeaving(index))
		r.Leaving = append(r.Leaving, index)
	}
	return errors.Join(errs...)
}

// forgetGone forgets what was remembered of ports that are gone.
func (r records) forgetGone() error {
	if len(r.Leaving)+len(r.Flagged) == 0 {
		return nil
	}
	existing, err := r.links.Names(slices.Concat(r.Leaving, r.Flagged))
	if err != nil {
		return err
	}
	var errs []error
	forget := func(indices []int, mark func(int) error) {
		for _, index := range indices {
			if _, exists := existing[index]; !exists {
				errs = append(errs, mark(index))
			}
		}
	}
	forget(r.Leaving, r.store.ForgetLeaving)
	forget(r.Flagged, r.store.ForgetFlagged)
	return errors.Join(errs...)
}
