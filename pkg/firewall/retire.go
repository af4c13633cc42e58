// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Retire leaves the host to upstream's plugin: its isolation by iptables is in force
// for every container that runs, and nothing else of this plugin is left. Where
// upstream's plugin could not isolate what now is isolated, the error says so, and
// nothing has changed; with forced, that is opened.
//
// What upstream's plugin needs comes first, the table goes after it, and the records,
// by which an interrupted call is repeated, go last.
func (fw *Engine) Retire(forced bool) error {
	r, unlock, err := fw.storage.lock()
	if err != nil {
		return err
	}
	defer unlock()

	r, err = fw.removeStale(fw.follow(r))
	fw.warn(err)
	all, err := r.attachments()
	if err = errors.Join(err, fw.irreplaceable(all)); err != nil && !forced {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	err = errors.Join(fw.handOver(asIPTables(all)), fw.clearFlags(&r, all))
	if err != nil && !forced {
		return err
	}
	fw.warn(err)
	return fw.forgetAll(r)
}

// irreplaceable returns an error that names what upstream's plugin cannot isolate.
func (fw *Engine) irreplaceable(all []policy.Attachment) error {
	filtered := sync.OnceValues(fw.ports.links.Filtered)
	var errs []error
	for _, b := range policy.Desired(all...).Bridges {
		if !b.IngressPolicy.Isolates() {
			continue
		}
		_, missing := fw.drivers.all[policy.Filter].Installed(b.Families)
		errs = append(errs, missing)
		if b.IngressPolicy.IsStrict() {
			errs = append(errs, fmt.Errorf("network %q is %s, and upstream's plugin knows no such policy", b.Network, b.IngressPolicy))
		}
		if len(b.Interfaces) > 0 {
			errs = append(errs, fmt.Errorf("network %q is routed by %v, and upstream's plugin only isolates bridge %q",
				b.Network, b.Interfaces, b.Name))
			continue
		}
		_, flag, err := fw.ports.needsFlag(b, filtered)
		if flag {
			err = fmt.Errorf("network %q is isolated by flags of its ports, as br_netfilter is off, "+
				"and upstream's plugin sets none", b.Network)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// asIPTables returns attachments as upstream's plugin would have them. Those of
// firewalld stay in their zones, where it looks for them.
func asIPTables(all []policy.Attachment) []policy.Attachment {
	all = slices.Clone(all)
	for i := range all {
		all[i].PublishedPorts = policy.Deny
		switch p := all[i].IngressPolicy; {
		case p.Separates():
			all[i].IngressPolicy = policy.Isolated
		case p.Isolates():
			all[i].IngressPolicy = policy.SameBridge
		}
		if all[i].Backend == policy.Firewalld {
			all[i].Addresses, all[i].IsolatedIn = nil, all[i].Families()
		}
		all[i].Backend = policy.IPTables
	}
	return all
}

// handOver makes the filter tables hold what upstream's plugin would write, and no more.
func (fw *Engine) handOver(all []policy.Attachment) error {
	rs := policy.ByDriver(all, all)[policy.Filter]
	installed, _ := fw.drivers.all[policy.Filter].Installed(policy.BothFamilies)
	actual, err := fw.drivers.all[policy.Filter].Read(installed)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		err = actual.Apply(rs, nil)
	}
	if err == nil {
		err = actual.RemoveFormer(rs)
	}
	return errors.Join(err, actual.RemoveOwn())
}

// clearFlags clears the flags that the plugin set.
func (fw *Engine) clearFlags(r *records, all []policy.Attachment) error {
	var errs []error
	for _, b := range policy.Desired(all...).Bridges {
		b.IngressPolicy = policy.Open
		errs = append(errs, fw.ports.flagOf(r, b, fw.ports.links.Filtered))
	}
	return errors.Join(errs...)
}

// forgetAll removes the table, and then the records.
func (fw *Engine) forgetAll(r records) error {
	table, err := fw.drivers.all[policy.Table].Read(policy.BothFamilies)
	if fw.drivers.hasTable() {
		if err == nil {
			err = table.RemoveOwn()
		}
		if err != nil {
			return err
		}
	}
	var errs []error
	for _, e := range r.Entries {
		errs = append(errs, r.store.Remove(e))
	}
	return errors.Join(errs...)
}
