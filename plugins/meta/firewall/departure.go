// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// departure is the attachments that go in one call.
type departure struct {
	addresses []netip.Prefix
	bridges   []string
	ports     []string
	records   map[string]store.Entry // by file
	damaged   map[string]bool        // files of records that cannot be read
}

func newDeparture() *departure {
	return &departure{records: map[string]store.Entry{}, damaged: map[string]bool{}}
}

// leave adds an attachment.
func (d *departure) leave(a policy.Attachment) {
	d.addresses = append(d.addresses, a.Addresses...)
	if a.Bridge != "" && !slices.Contains(d.bridges, a.Bridge) {
		d.bridges = append(d.bridges, a.Bridge)
	}
	if a.Port != "" {
		d.ports = append(d.ports, a.Port)
	}
}

// part makes the attachment of a record leave. One whose content cannot be read
// is left alone: its addresses, which stand in its name, are closed, and its
// bridge stays isolated.
func (l live) part(d *departure, e store.Entry) error {
	a, err := l.store.Read(e)
	if err != nil {
		d.leave(policy.Attachment{Addresses: e.Attachment.Addresses})
		d.damaged[e.File()] = true
		return err
	}
	d.leave(a)
	d.records[e.File()] = e
	return nil
}

// staying returns the entries of those that do not go.
func (l live) staying(d *departure) []store.Entry {
	var stay []store.Entry
	for _, e := range l.Entries {
		if _, goes := d.records[e.File()]; !goes {
			stay = append(stay, e)
		}
	}
	return stay
}

// depart takes the rules away, the accepted addresses and the isolation in one
// transaction, and the records when that is done. After an error the records
// stay, and the next call finishes.
func (p plugin) depart(l live, d *departure) error {
	rs, err := l.gone(d)
	needed, missing := iptables.Installed(familiesOf(d.addresses))
	p.warn(missing)
	tables, readErr := p.read(rs.Families(), needed)
	if err := errors.Join(err, readErr, tables.Remove(rs)); err != nil {
		return err
	}
	p.warn(l.markLeaving(d.ports))
	if missing == nil { // else the rules may be there all the same, for a call that finds the tool
		for _, e := range d.records {
			p.warn(l.store.Remove(e))
		}
	}
	return nil
}

func familiesOf(addresses []netip.Prefix) policy.Families {
	return policy.Attachment{Addresses: addresses}.Families()
}

// gone returns the rule set that goes: the addresses that no other attachment
// has meanwhile, and the bridges with nobody left, in both families. With an
// error a bridge stays, because it cannot be told.
func (l live) gone(d *departure) (policy.RuleSet, error) {
	var rs policy.RuleSet
	taken := map[netip.Prefix]bool{}
	staying := l.staying(d)
	for _, e := range staying {
		for _, a := range e.Attachment.Addresses {
			taken[a] = taken[a] || !d.damaged[e.File()]
		}
	}
	for _, a := range d.addresses {
		if !taken[a] {
			rs.Addresses = append(rs.Addresses, a)
			taken[a] = true
		}
	}
	var errs []error
	for _, name := range d.bridges {
		used, err := l.inUse(name, staying, d.ports)
		if err == nil && !used {
			rs.Bridges = append(rs.Bridges, policy.Bridge{Name: name, Families: policy.BothFamilies})
		}
		errs = append(errs, err)
	}
	return rs, errors.Join(errs...)
}

// markLeaving remembers the ports that are still there.
func (l live) markLeaving(ports []string) error {
	if l.store == nil {
		return nil
	}
	found, err := link.Existing(ports)
	errs := []error{err}
	for _, index := range found {
		errs = append(errs, l.store.MarkLeaving(index))
	}
	return errors.Join(errs...)
}

// partStale makes the attachments leave whose bridge no longer exists: their
// containers have no network, and nobody will delete them. A bridge that was
// never seen is one of a kind that the kernel does not show.
func (l live) partStale(d *departure) error {
	names := map[string]bool{}
	for _, e := range l.Entries {
		if e.Attachment.Bridge != "" {
			names[e.Attachment.Bridge] = true
		}
	}
	found, err := link.Existing(slices.Collect(maps.Keys(names)))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range l.Entries {
		if bridge := e.Attachment.Bridge; bridge == "" || found[bridge] != 0 {
			continue
		}
		if a, err := l.store.Read(e); err == nil && !a.Unseen {
			errs = append(errs, l.part(d, e))
		}
	}
	return errors.Join(errs...)
}
