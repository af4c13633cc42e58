// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Check compares what the kernel holds for an attachment and its bridge with what
// Add would make it hold. It writes nothing, and so takes no lock.
func (fw *Engine) Check(a policy.Attachment) error {
	a, _, err := fw.located(a)
	if err != nil {
		return err
	}
	c, err := fw.drivers.chooseIfUnnamed(a.Backend)
	if err != nil {
		return err
	}
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return err
	}
	r, err := fw.storage.list(s).followed()
	if err != nil {
		return err
	}
	if a, err = fw.drivers.withBackend(r, a, c); err != nil {
		return err
	}
	fw.about(a)
	a = r.asRecorded(a)
	own := r.of(a)
	if on := r.adoptedOn(a.Bridge); len(own) == 0 && len(on) > 0 && a.IsStandalone() {
		own, a = on, on[0].Attachment // all that there is of it
	}
	foreign := len(own) == 0 && a.Backend != policy.NFTables
	known := r.isolatedOn(a.Bridge)
	takenOver := a.Backend == policy.Firewalld && len(known) > 0
	if foreign {
		a.PublishedPorts = foreignPorts(known, takenOver)
	}
	a.Backend = backendOf(own, a.Backend)
	desired := fw.desiredOn(r, a)
	with := snapshots.check
	if foreign {
		with, desired = snapshots.checkForeign, asUpstream(desired, a, takenOver)
	}
	_, difference, err := fw.drivers.settled(desired, with)
	if err := errors.Join(err, difference); err != nil {
		return err
	}
	return fw.ports.check(&r, bridgesIn(desired))
}

// Recorded returns an attachment with what its ADD made of its configuration, for a CHECK
// that cannot know it.
func (fw *Engine) Recorded(a policy.Attachment) policy.Attachment {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return a // Check says why
	}
	r := records{s, s.List(), fw.ports.links}
	for _, e := range r.of(a) {
		known, err := r.store.Read(e)
		if err != nil {
			continue
		}
		a.IngressPolicy, a.Stated, a.PublishedPorts = known.IngressPolicy, known.Stated, known.PublishedPorts
		a.Backend, a.AdminChain, a.Zone = known.Backend, known.AdminChain, known.Zone
	}
	return a
}

// foreignPorts returns what is desired of published ports without a record: upstream's
// plugin has no rules for them, unless its bridge was taken over.
func foreignPorts(known []store.Entry, takenOver bool) policy.PublishedPorts {
	if takenOver {
		return known[0].Attachment.PublishedPorts
	}
	return policy.Deny
}

// desiredOn returns what is desired for an attachment, on its own bridge. What guards
// other ports is for their own CHECK.
func (fw *Engine) desiredOn(r records, a policy.Attachment) policy.RuleSets {
	desired := fw.desired(r, []policy.Attachment{a}, nil)
	for name, rs := range desired {
		rs = rs.On(a.Bridge)
		rs.Ports = slices.DeleteFunc(rs.Ports, func(p policy.Port) bool { return p.Name != a.Port })
		desired[name] = rs
	}
	return desired
}

// asUpstream returns where upstream's plugin keeps an attachment's rules: with
// firewalld too, it isolates by iptables, until that is taken over.
func asUpstream(desired policy.RuleSets, a policy.Attachment, takenOver bool) policy.RuleSets {
	if a.Backend == policy.IPTables {
		return policy.RuleSets{policy.Filter: desired[policy.Filter]}
	}
	upstreams := policy.RuleSets{policy.Zones: desired[policy.Zones]}
	switch {
	case takenOver:
		upstreams[policy.Table] = desired[policy.Table]
	case a.IngressPolicy.Isolates():
		upstreams[policy.Filter] = desired[policy.Table].With(policy.RuleSet{})
	}
	return upstreams
}
