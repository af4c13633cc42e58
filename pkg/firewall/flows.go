// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// A connection that the kernel tracks outlives the container that it led to, and the
// policy that let it in. See package conntrack.

// forgetFlows deletes the connections of addresses that become free. It works beside
// the programs of the removal; wait returns its error.
func (fw *Engine) forgetFlows(r records, d *removal) (wait func() error) {
	free := unusedBy(r.Entries, d.flows, func(e *store.Entry) bool { return !d.removes(e) })
	done := make(chan error, 1)
	go func() { done <- fw.forget(r, free) }()
	return func() error { return <-done }
}

// forget deletes the connections of addresses, and remembers those that are still
// redirected to.
func (fw *Engine) forget(r records, free []netip.Prefix) error {
	if len(free) == 0 {
		return nil
	}
	addresses := make([]netip.Addr, len(free))
	for i, p := range free {
		addresses[i] = p.Addr()
	}
	redirected, err := fw.flows.Forget(addresses)
	errs := []error{err}
	for _, address := range addresses {
		if redirected && r.store != nil {
			errs = append(errs, r.store.MarkFreed(address))
		}
	}
	return errors.Join(errs...)
}

// forgetOutdated deletes the connections of the past that added attachments must not
// inherit, and where the policy becomes stricter those that containers opened. guarded has
// the interfaces whose addresses were not guarded until now.
func (fw *Engine) forgetOutdated(r records, added []policy.Attachment, before policy.RuleSet, guarded []string) error {
	var addresses []netip.Addr
	for _, a := range added {
		if len(r.of(a)) > 0 {
			continue // its connections are its own
		}
		for _, p := range a.Addresses {
			if slices.Contains(r.Freed, p.Addr()) {
				addresses = append(addresses, p.Addr())
			}
		}
	}
	for _, a := range added {
		if isStricter(a, bridgeBefore(a, before)) {
			guarded = append(guarded, a.Bridge)
		}
	}
	var errs []error
	if len(addresses) > 0 {
		_, err := fw.flows.Forget(addresses)
		errs = append(errs, err)
	}
	errs = append(errs, fw.forgetForged(r, added, guarded))
	for _, address := range addresses {
		errs = append(errs, r.store.ForgetFreed(address))
	}
	return errors.Join(errs...)
}

// forgetForged deletes what containers opened whose addresses were not guarded until now:
// somebody may have opened it in their name, and his packets were replies. What others
// opened is judged by its direction, as new connections are.
func (fw *Engine) forgetForged(r records, added []policy.Attachment, guarded []string) error {
	if len(guarded) == 0 {
		return nil // as in most calls, which look at no record for it
	}
	var opened []netip.Addr
	collect := func(a *policy.Attachment) {
		if slices.ContainsFunc(a.Inbound(), func(name string) bool { return slices.Contains(guarded, name) }) {
			for _, p := range a.Addresses {
				opened = append(opened, p.Addr())
			}
		}
	}
	for i := range r.Entries {
		collect(&r.Entries[i].Attachment)
	}
	for i := range added {
		collect(&added[i])
	}
	if len(opened) == 0 {
		return nil
	}
	return fw.flows.ForgetOpened(opened)
}

// isStricter reports whether an attachment makes its bridge stricter than it was.
func isStricter(a policy.Attachment, before policy.Bridge) bool {
	return before.IngressPolicy.With(a.IngressPolicy) != before.IngressPolicy ||
		a.PublishedPorts == policy.Deny && before.PublishedPorts == policy.Allow
}

// forgetWaiting drops the packets to added containers that passed the forward hook before
// their bridge was isolated, and still wait for the address to be resolved. That another
// container's ADD has isolated the bridge since tells nothing of these addresses.
func (fw *Engine) forgetWaiting(r records, added []policy.Attachment, before policy.RuleSet) error {
	var errs []error
	for _, a := range added {
		wasIsolated := len(r.of(a)) > 0 && bridgeBefore(a, before).IngressPolicy.Isolates()
		if !a.IngressPolicy.Isolates() || wasIsolated {
			continue
		}
		found, err := fw.ports.links.Existing(a.Inbound())
		errs = append(errs, err)
		for _, index := range found {
			for _, p := range a.Addresses {
				errs = append(errs, fw.ports.links.ForgetNeighbor(index, p.Addr()))
			}
		}
	}
	return errors.Join(errs...)
}
