// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"

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
	var found []store.Entry
	for _, e := range r.Entries {
		if e.Attachment.Bridge == bridge && isAdopted(&e) {
			found = append(found, e)
		}
	}
	return found
}

// supersedes reports whether an attachment says in the place of an adopted record
// how its bridge is isolated. One that is open does not: in a conflist with an
// isolation of its own, that comes after it.
func supersedes(a policy.Attachment, e *store.Entry) bool {
	return e.Attachment.Bridge == a.Bridge && a.IngressPolicy.Isolates() && isAdopted(e)
}

// foreign is what the filter tables hold of other plugins.
type foreign struct {
	families policy.Families // none: not asked for, or no iptables
	unused   []string        // bridges that are isolated, and nobody is on them
}

// adopt records the bridges that only rules of another plugin isolate, so that every
// driver in use isolates them. Their backend is the one that the host has for a
// network which names none. Published ports were closed between bridges, and stay so
// until an ADD says otherwise.
func (fw *Engine) adopt(r *records) (foreign, error) {
	installed, _ := fw.drivers.all[policy.Filter].Installed(policy.BothFamilies)
	if installed == 0 {
		return foreign{}, nil
	}
	actual, err := fw.drivers.all[policy.Filter].Read(installed)
	if err != nil {
		return foreign{}, fmt.Errorf("adopting what iptables holds: %w", err)
	}
	backend, err := fw.drivers.choose()
	if err != nil {
		return foreign{}, err
	}
	found := foreign{families: installed}
	var errs []error
	for _, b := range actual.Isolated() {
		a := adopted(b.Name)
		a.IngressPolicy, a.PublishedPorts, a.Backend = b.IngressPolicy, policy.Deny, backend
		if b.Families != policy.BothFamilies {
			a.IsolatedIn = b.Families
		}
		errs = append(errs, found.adopt(r, a))
	}
	return found, errors.Join(errs...)
}

// adopt records one bridge, in the families in which no record isolates it.
func (f *foreign) adopt(r *records, a policy.Attachment) error {
	all, left := a.Families(), a.Families()
	for _, e := range r.Entries {
		if e.Attachment.Bridge == a.Bridge && e.Attachment.IngressPolicy.Isolates() {
			left &^= e.Attachment.Families()
			a.PublishedPorts = e.Attachment.PublishedPorts // which is for both families
		}
	}
	if left == 0 {
		return nil
	}
	if left != all {
		a.IsolatedIn = left
	}
	used, err := r.inUse(a.Bridge, nil, portSet{})
	if err != nil {
		return err
	}
	if !used {
		f.unused = append(f.unused, a.Bridge)
		return nil
	}
	if err := r.store.Put(a, nil); err != nil {
		return err
	}
	r.Entries = append(r.Entries, store.NewEntry(a))
	return nil
}

// removeForeign removes what other plugins left: all rules of the standalone one,
// those of bridges on which nobody is, and, where no record is of iptables, those of
// bridges whose containers all have records. It comes when the kernel holds all that
// the records say.
func (fw *Engine) removeForeign(found foreign, r records) error {
	if found.families == 0 {
		return nil
	}
	actual, err := fw.drivers.all[policy.Filter].Read(found.families)
	if err != nil {
		return err
	}
	errs := []error{actual.RemoveForeign()}
	empty := found.unused
	if !slices.Contains(driversOf(r.Entries), policy.Filter) {
		recorded, err := r.withoutUnrecorded(r.Entries, portSet{})
		errs = append(errs, err)
		empty = append(empty, recorded...)
	}
	var bridges []policy.Bridge
	for _, name := range empty {
		bridges = append(bridges, policy.Bridge{Name: name, Families: policy.BothFamilies})
	}
	return errors.Join(append(errs, actual.Remove(policy.RuleSet{Bridges: bridges}))...)
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
