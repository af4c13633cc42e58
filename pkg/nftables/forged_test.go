// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// crowded returns the attachments of so many bridges that the rules of chainForged are
// not read with the others, and those of them that are on the first bridge.
func crowded() (all []policy.Attachment, first policy.Attachment) {
	all = attachmentsOn(many + 4)
	return all, all[0]
}

// addTo returns the rule set of an ADD beside others.
func addTo(a policy.Attachment, others ...policy.Attachment) policy.RuleSet {
	return policy.Desired(append(slices.Clone(others), a)...).With(policy.Desired(a))
}

// forgedRead makes a kernel count how often the rules of chainForged are read.
func (k *kernel) forgedRead() *int {
	n := new(int)
	k.fail = func(_ int, m message) syscall.Errno {
		all := m.attrs.text(unix.NFTA_RULE_CHAIN)
		if m.kind == unix.NFT_MSG_GETRULE && (all == "" || all == chainForged) && m.family == unix.NFPROTO_INET {
			*n++
		}
		return 0
	}
	return n
}

// wantForged fails unless chainForged has one rule for each isolated bridge.
func (k *kernel) wantForged(t *testing.T, name string) {
	t.Helper()
	rules := map[string]bool{}
	for _, r := range k.host.table().chain(chainForged).rules {
		key, _ := forgedKey(mustExprs(r))
		rules[key] = true
	}
	isolated := k.host.table().set(setIsolated).elements
	for key := range isolated {
		if !rules[key] {
			t.Errorf("%s: no rule for %q", name, key)
		}
	}
	if got := k.host.table().chain(chainForged).count(); got != len(isolated) {
		t.Errorf("%s: %d rules for %d bridges", name, got, len(isolated))
	}
}

// TestForgedCrowded expects an ADD beside many bridges to read the rules of chainForged
// only if it must.
func TestForgedCrowded(t *testing.T) {
	t.Parallel()
	all, first := crowded()
	open := first
	open.IngressPolicy = policy.Open
	more := func(r func(*hostChain) []byte) func(*hostTable) {
		return func(t *hostTable) { c := t.chain(chainForged); c.rules = append(c.rules, r(c)) }
	}
	twice := more(func(c *hostChain) []byte { return c.rules[3] })
	foreign := more(func(*hostChain) []byte { return acceptRule })
	noJump := func(t *hostTable) { t.chain(chainArrival).rules = nil }
	lost := func(bridge string) func(*hostTable) {
		return func(t *hostTable) { t.lose(element{set: chainForged, key: interfaceKey(bridge)}) }
	}
	tests := map[string]struct {
		damage func(*hostTable)
		added  policy.Attachment
		others []policy.Attachment
		reads  bool
	}{
		"the same again":             {nil, first, all, false},
		"a new bridge":               {nil, container("new", policy.SameBridge, policy.Allow, "10.200.0.2"), all, false},
		"an open bridge":             {nil, container("new", policy.Open, policy.Allow, "10.200.0.2"), all, false},
		"no longer isolated":         {nil, open, all[2:], true},
		"its own rule is missing":    {lost("br0"), first, all, true},
		"another's rule is missing":  {lost("br7"), first, all, true},
		"a rule is there twice":      {twice, first, all, true},
		"a foreign rule is there":    {foreign, first, all, true},
		"the chain is empty":         {func(t *hostTable) { t.chain(chainForged).rules = nil }, first, all, true},
		"the chain is missing":       {func(t *hostTable) { t.drop(chainForged) }, first, all, true},
		"the jump to it is missing":  {noJump, first, all, true},
		"another chain is of a hook": {hookDamages(chainLayout{name: chainStage1})[0].do, first, all, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := holding(t, policy.Desired(all...))
			k.otherProgram(func(h *host) {
				if test.damage != nil {
					test.damage(h.table())
				}
			})
			n := k.forgedRead()
			rs := addTo(test.added, test.others...)
			apply(t, k, rs, test.added.Bridge)
			if read := *n > 0; read != test.reads {
				t.Errorf("%d reads", *n)
			}
			k.wantForged(t, "added")
			if err := check(t, k, rs); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestForgedCrowdedCheck expects a check to see each missing rule, also where numbers say
// nothing.
func TestForgedCrowdedCheck(t *testing.T) {
	t.Parallel()
	all, _ := crowded()
	k := holding(t, policy.Desired(all...))
	k.otherProgram(func(h *host) {
		h.table().lose(element{set: chainForged, key: interfaceKey("br3")})
		h.table().chain(chainForged).rules = append(h.table().chain(chainForged).rules, ruleOf(forgedRule(interfaceKey("other")).exprs...))
	})
	wantDifference(t, k, policy.Desired(all...), `chain forged_source lacks "br3"`)
	apply(t, k, policy.Desired(all...))
	if err := check(t, k, policy.Desired(all...)); err != nil {
		t.Error(err)
	}
}

// TestForgedCrowdedRemoval removes bridges one by one, with the rules of each.
func TestForgedCrowdedRemoval(t *testing.T) {
	t.Parallel()
	all, _ := crowded()
	k := holding(t, policy.Desired(all...))
	for i := 0; i < len(all)-2; i += 2 {
		remove(t, k, policy.Desired(all[i:i+2]...))
		k.wantForged(t, fmt.Sprintf("bridge %d removed", i/2))
	}
	remove(t, k, policy.Desired(all...))
	k.wantHost(t, "")
}

// TestForgedCrowdedRollback rolls back an ADD on a new bridge.
func TestForgedCrowdedRollback(t *testing.T) {
	t.Parallel()
	all, _ := crowded()
	k := holding(t, policy.Desired(all...))
	before := k.host.String()
	added := container("new", policy.SameBridge, policy.Allow, "10.200.0.2")
	s := readSnapshot(t, k)
	if err := s.Apply(addTo(added, all...), []string{"new"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Rollback(policy.Desired(added), false); err != nil {
		t.Fatal(err)
	}
	k.wantHost(t, before)
}

// TestSharedInterface has two bridges in one VRF: what the stricter one says of the VRF
// holds, whichever an ADD is about.
func TestSharedInterface(t *testing.T) {
	t.Parallel()
	in := func(bridge string, p policy.IngressPolicy, ports policy.PublishedPorts, address string) policy.Attachment {
		a := container(bridge, p, ports, address)
		a.Interfaces = []string{"vrf"}
		return a
	}
	mild := in("br1", policy.SameBridge, policy.Allow, "10.1.0.2")
	open := in("br1", policy.Open, policy.Allow, "10.1.0.2")
	strict := in("br2", policy.Isolated, policy.Deny, "10.2.0.2")
	for _, other := range []policy.Attachment{mild, open} {
		k := holding(t, policy.Desired(other, strict))
		whole := k.host.String()
		k.commits = nil
		for _, about := range []policy.Attachment{other, strict} {
			apply(t, k, policy.Desired(other, strict).With(policy.Desired(about)), about.Bridge)
			if len(k.commits) > 0 {
				t.Errorf("%s, about %s: written", other.IngressPolicy, about.Bridge)
			}
		}
		k.wantHost(t, whole)
	}
}
