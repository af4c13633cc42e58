// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Check compares what the kernel holds for the attachment and its bridge with
// what Add would make it hold. It writes nothing, and so takes no lock.
func (fw *Engine) Check(a policy.Attachment) error {
	a, err := fw.withBackend(a)
	if err != nil {
		return err
	}
	s, err := store.Peek(fw.dataDir)
	if err != nil {
		return err
	}
	l := fw.remember(s)
	own := l.of(a)
	if isolated := l.adoptedOn(a.Bridge); len(own) == 0 && len(isolated) > 0 && a.IsStandalone() {
		own, a = isolated, isolated[0].Attachment // all that there is of it
	}
	upstreams := len(own) == 0 && a.Backend != policy.NFTables
	if upstreams { // which has no rules for published ports
		a.PublishedPorts = policy.Deny
	}
	a.Backend = backendOf(own, a.Backend)
	sets := l.with(a)
	for name, rs := range sets {
		sets[name] = rs.On(a.Bridge)
	}
	compare := held.check
	if upstreams {
		compare, sets = held.checkPresent, asUpstream(sets, a)
	}
	_, difference, err := fw.confirmed(sets, compare)
	if err := errors.Join(err, difference); err != nil {
		return err
	}
	return checkPorts(isolating(sets))
}

// asUpstream returns where upstream's plugin keeps an attachment's rules: with
// firewalld too, it isolates by iptables.
func asUpstream(sets policy.RuleSets, a policy.Attachment) policy.RuleSets {
	if a.Backend == policy.IPTables {
		return policy.RuleSets{policy.Filter: sets[policy.Filter]}
	}
	upstreams := policy.RuleSets{policy.Zones: sets[policy.Zones]}
	if a.IngressPolicy.Isolates() {
		upstreams[policy.Filter] = sets[policy.Table].With(policy.RuleSet{})
	}
	return upstreams
}

// checkPresent is check for what upstream's plugin wrote.
func (h held) checkPresent(sets policy.RuleSets) error {
	for name, rs := range sets {
		if err := h[name].CheckForeign(rs); err != nil {
			return err
		}
	}
	return nil
}

// backendOf returns the backend that the ADD chose which wrote the records of an
// attachment. A call that died while it changed the backend left two.
func backendOf(own []store.Entry, configured policy.Backend) policy.Backend {
	names := backendsOf(own)
	if len(names) == 0 || slices.Contains(names, configured) {
		return configured
	}
	return names[0]
}
