// SPDX-License-Identifier: Apache-2.0

package firewall

import "errors"

// markLeaving remembers the ports that still exist: the bridge plugin takes them
// away after this plugin's DEL.
func (r records) markLeaving(ports []string) error {
	if r.store == nil {
		return nil
	}
	found, err := r.links.Existing(ports)
	errs := []error{err}
	for _, index := range found {
		errs = append(errs, r.store.MarkLeaving(index))
	}
	return errors.Join(errs...)
}

// forgetLeaving forgets the leaving ports that are gone, and one that is in use
// again.
func (r records) forgetLeaving(again string) error {
	if len(r.Leaving) == 0 {
		return nil
	}
	used, err := r.links.Existing([]string{again})
	errs := []error{err}
	for _, index := range r.Leaving {
		exists, err := r.links.ExistsIndex(index)
		if err == nil && (!exists || used[again] == index) {
			err = r.store.ForgetLeaving(index)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
