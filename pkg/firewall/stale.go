// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"maps"
	"slices"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// emptyBridges returns the removal's bridges with nobody left. Where another network
// keeps a bridge that they share, only the other interfaces go. With an error a bridge
// stays, because it cannot be told.
func (r records) emptyBridges(d *removal) ([]policy.Bridge, error) {
	var empty []policy.Bridge
	var errs []error
	for _, b := range d.bridges {
		rest := r.remainingOn(b.Name, d)
		sameGroup := func(e store.Entry) bool { return isGroupOf(b, e.Attachment) }
		used, err := r.inUse(b.Name, rest, d.ports)
		b.Kept = used
		if err == nil && (!used || len(b.Interfaces) > 0 && !slices.ContainsFunc(rest, sameGroup)) {
			empty = append(empty, b)
		}
		errs = append(errs, err)
	}
	return empty, errors.Join(errs...)
}

// withoutUnrecorded returns the bridges of entries on which there is nobody else, but
// for the ports that are removed. A container that upstream's plugin isolated has
// no record, and its rules may be in a driver that records no longer name.
func (r records) withoutUnrecorded(entries []store.Entry, removed portSet) ([]string, error) {
	ports := map[string]portSet{}
	var errs []error
	for _, e := range entries {
		if e.Attachment.Bridge == "" {
			continue
		}
		a, err := r.store.Read(e)
		errs = append(errs, err)
		known := ports[e.Attachment.Bridge]
		known.add(a)
		ports[e.Attachment.Bridge] = known
	}
	var recorded []string
	for _, bridge := range slices.Sorted(maps.Keys(ports)) {
		others, err := r.inUse(bridge, nil, ports[bridge].with(removed))
		if err == nil && !others {
			recorded = append(recorded, bridge)
		}
		errs = append(errs, err)
	}
	return recorded, errors.Join(errs...)
}

// addStale adds to a removal the attachments whose bridge and port no longer exist:
// their containers have no network, and nobody will delete them. A bridge that was
// never seen is one of a kind that the kernel does not show.
func (r records) addStale(d *removal) error {
	names := map[string]bool{}
	for _, e := range r.Entries {
		if e.Attachment.Bridge != "" {
			names[e.Attachment.Bridge] = true
		}
	}
	found, err := r.links.Existing(slices.Collect(maps.Keys(names)))
	if err != nil {
		return err
	}
	errs := []error{r.addUnusedAdopted(d)}
	for _, e := range r.Entries {
		if bridge := e.Attachment.Bridge; bridge == "" || found[bridge] != 0 {
			continue
		}
		a, err := r.store.Read(e)
		if err != nil || a.Unseen {
			continue
		}
		lives, err := r.portLives(a)
		if err == nil && !lives {
			err = r.addTo(d, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isGone reports whether the port of an entry no longer exists. What cannot be read is
// told of where it is restored.
func (r records) isGone(e store.Entry) (bool, error) {
	if a, err := r.store.Read(e); err == nil && !isAdopted(&e) && (a.Port != "" || a.PortIndex != 0) {
		lives, err := r.portLives(a)
		return err == nil && !lives, err
	}
	return false, nil
}

// withoutGone returns the records without those whose port is gone while their bridge is
// not, and an error that names these.
func (r records) withoutGone() (records, error) {
	var rest []store.Entry
	var errs []error
	for _, e := range r.Entries {
		gone, err := r.isGone(e)
		if gone {
			found, existsErr := r.links.Existing([]string{e.Attachment.Bridge})
			gone = len(found) > 0 // else what is wrong is the bridge
			err = existsErr
		}
		if gone {
			a, _ := r.store.Read(e)
			err = errors.Join(err, diagnosis.Deleted(a.Network, a.ContainerID))
		} else {
			rest = append(rest, e)
		}
		errs = append(errs, err)
	}
	r.Entries = rest
	return r, errors.Join(errs...)
}

// addGone adds to a removal the attachments on its bridges whose port no longer exists:
// another plugin deleted their containers, or nobody did. It stops at the first one that
// lives: then the bridge stays anyway.
func (r records) addGone(d *removal) error {
	var errs []error
	for _, b := range slices.Clone(d.bridges) {
		for _, e := range r.remainingOn(b.Name, d) {
			gone, err := r.isGone(e)
			errs = append(errs, err)
			if !gone {
				break
			}
			errs = append(errs, r.addTo(d, e))
		}
	}
	return errors.Join(errs...)
}

// removeStale removes the attachments whose bridge or port no longer exists: those of
// a host's past, and of a DEL that died after the rules were gone.
func (fw *Engine) removeStale(r records) (records, error) {
	d := newRemoval()
	err := r.addStale(d)
	for _, e := range r.Entries {
		gone, portErr := r.isGone(e)
		if gone {
			portErr = r.addTo(d, e)
		}
		err = errors.Join(err, portErr)
	}
	if len(d.records) > 0 {
		err = errors.Join(err, fw.remove(r, d))
	}
	r.Entries = r.remaining(d)
	return r, err
}
