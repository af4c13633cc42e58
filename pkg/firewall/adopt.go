// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// AdoptedNetwork stands for the network in the record of a bridge that another plugin
// isolated by iptables: upstream's, or the standalone "isolation". Its containers have
// no record. No network can have that name.
const AdoptedNetwork = "(adopted)"

func adopted(bridge string) policy.Attachment {
	return policy.Attachment{Network: AdoptedNetwork, ContainerID: bridge, IfName: "-", Bridge: bridge}
}

var adoptedKey = store.NetworkKey(AdoptedNetwork)

func isAdopted(e *store.Entry) bool { return e.NetworkKey == adoptedKey }

// adoptedOn returns the entry of a bridge that was adopted, if it was.
func (r records) adoptedOn(bridge string) []store.Entry {
	return r.where(func(e *store.Entry) bool { return e.Attachment.Bridge == bridge && isAdopted(e) })
}

// supersedes reports whether an attachment says in the place of an adopted record
// how its bridge is isolated. One that is open does not: in a conflist with an
// isolation of its own, that comes after it. What was kept is the network's own.
func supersedes(a policy.Attachment, e *store.Entry) bool {
	if isKept(e) {
		return isSameGroup(&a, &e.Attachment)
	}
	return e.Attachment.Bridge == a.Bridge && a.IngressPolicy.Isolates() && isAdopted(e)
}

// held is what the drivers hold that isolate, whoever wrote it.
type held map[policy.DriverName]policy.RuleSet

// held reads what some drivers hold. One that cannot be read is left out.
func (d drivers) held(names ...policy.DriverName) (held, error) {
	all := held{}
	var errs []error
	for _, name := range names {
		installed, _ := d.all[name].Installed(policy.BothFamilies)
		if installed == 0 {
			continue
		}
		actual, err := d.all[name].Read(installed)
		if iptables.IsUnusable(err) {
			err = nil // a family that does not work holds nothing
		}
		var rs policy.RuleSet
		if err == nil {
			rs, err = actual.Held()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("looking for rules that no record tells of: %w", err))
			continue
		}
		all[name] = rs
	}
	return all, errors.Join(errs...)
}

// isolated returns the bridges that are isolated and that somebody is on, but for those
// that records isolate already.
func (h held) isolated(r records) ([]policy.Bridge, error) {
	var found []policy.Bridge
	var errs []error
	for _, rs := range h {
		for _, b := range rs.Bridges {
			if !b.IngressPolicy.Isolates() || len(r.isolatedOn(b.Name)) > 0 {
				continue
			}
			used, err := r.inUse(b.Name, nil, portSet{})
			errs = append(errs, err)
			if used {
				found = append(found, b)
			}
		}
	}
	return found, errors.Join(errs...)
}

// isolatedOn returns the entries that isolate a bridge.
func (r records) isolatedOn(bridge string) []store.Entry {
	return r.where(func(e *store.Entry) bool {
		return e.Attachment.Bridge == bridge && e.Attachment.IngressPolicy.Isolates()
	})
}

// adopt records the bridges that only rules of another plugin isolate, so that every
// driver in use isolates them. Where published ports were closed between bridges, they
// stay so until an ADD says otherwise.
func (fw *Engine) adopt(r *records, h held, choose func() (policy.Backend, error)) error {
	found, err := h.isolated(*r)
	if len(found) == 0 {
		return err
	}
	backend, chooseErr := choose()
	if chooseErr != nil {
		return errors.Join(err, chooseErr)
	}
	errs := []error{err}
	for _, b := range found {
		a := adopted(b.Name)
		a.Interfaces, a.IngressPolicy, a.PublishedPorts, a.Backend = b.Interfaces, b.IngressPolicy, b.PublishedPorts, backend
		errs = append(errs, r.put(a))
	}
	return errors.Join(errs...)
}

// addUnusedAdopted adds to a removal the adopted bridges on which nobody is any more.
func (r records) addUnusedAdopted(d *removal) error {
	var errs []error
	for _, e := range r.Entries {
		if !isAdopted(&e) {
			continue
		}
		used, err := r.inUse(e.Attachment.Bridge, nil, d.ports)
		if err == nil && !used {
			err = r.addTo(d, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
