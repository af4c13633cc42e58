// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// AdoptedNetwork stands for the network in the record of a bridge that an earlier
// plugin isolated by iptables: upstream's, or the standalone isolation. Its
// containers have no record. No network can have that name.
const AdoptedNetwork = "(adopted)"

func adopted(bridge string) policy.Attachment {
	return policy.Attachment{Network: AdoptedNetwork, ContainerID: bridge, IfName: "-", Bridge: bridge}
}

var adoptedKey = store.NetworkKey(AdoptedNetwork)

func isAdopted(e *store.Entry) bool { return e.NetworkKey == adoptedKey }

// adoptedOn returns the entry of a bridge that was adopted, if it was.
func (l live) adoptedOn(bridge string) []store.Entry {
	var found []store.Entry
	for _, e := range l.Entries {
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

// earlier is what the filter tables hold of earlier plugins.
type earlier struct {
	families policy.Families // none: not asked for, or no iptables
	unused   []string        // bridges that are isolated, and nobody is on them
}

// adopt records the bridges that only rules of an earlier plugin isolate, in the
// backend that the host has for a network which names none, so that they are
// isolated in the place of every backend. Published ports were closed between
// bridges, and stay so until an ADD says otherwise.
func (fw *Engine) adopt(l *live) (earlier, error) {
	installed, _ := iptables.Installed(policy.BothFamilies)
	if installed == 0 {
		return earlier{}, nil
	}
	t, err := iptables.Read(installed)
	if err != nil {
		return earlier{}, fmt.Errorf("adopting what iptables holds: %w", err)
	}
	found := earlier{families: installed}
	backend, err := fw.Choose()
	if err != nil {
		return earlier{}, err
	}
	var errs []error
	for _, b := range t.Isolated() {
		a := adopted(b.Name)
		a.IngressPolicy, a.PublishedPorts, a.Backend = b.IngressPolicy, policy.Deny, backend
		if b.Families != policy.BothFamilies {
			a.IsolatedIn = b.Families
		}
		errs = append(errs, found.adopt(l, a))
	}
	return found, errors.Join(errs...)
}

// adopt records one bridge, in the families in which no record isolates it.
func (found *earlier) adopt(l *live, a policy.Attachment) error {
	all, left := a.Families(), a.Families()
	for _, e := range l.Entries {
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
	used, err := l.inUse(a.Bridge, nil, nil)
	if err != nil {
		return err
	}
	if !used {
		found.unused = append(found.unused, a.Bridge)
		return nil
	}
	if err := l.store.Put(a, nil); err != nil {
		return err
	}
	l.Entries = append(l.Entries, store.NewEntry(a))
	return nil
}

// clean removes what earlier plugins left: all rules of the former one, those of
// bridges on which nobody is, and, where no record is of iptables, those of
// bridges whose containers all have records. It comes when the kernel holds all
// that the records say.
func (found earlier) clean(l live) error {
	if found.families == 0 {
		return nil
	}
	t, err := iptables.Read(found.families)
	if err != nil {
		return err
	}
	errs := []error{t.RemoveForeign()}
	bridges := found.unused
	if !slices.Contains(placesOfAll(l.Entries), policy.Filter) {
		ours, err := l.withoutStrangers(l.Entries, nil)
		errs = append(errs, err)
		bridges = append(bridges, ours...)
	}
	return errors.Join(append(errs, t.Remove(wholeBridges(bridges)))...)
}

// partNeedless makes the adopted bridges leave on which nobody is any more.
func (l live) partNeedless(d *departure) error {
	var errs []error
	for _, e := range l.Entries {
		if !isAdopted(&e) {
			continue
		}
		used, err := l.inUse(e.Attachment.Bridge, nil, d.ports)
		if err == nil && !used {
			err = l.part(d, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
