// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// vlan returns a container of a VLAN on the bridge br.
func vlan(gateway string, p policy.IngressPolicy, ports policy.PublishedPorts, address string) policy.Attachment {
	a := container("br", p, ports, address)
	a.Network, a.Interfaces = gateway, []string{gateway}
	return a
}

// TestGroups has two VLANs on one bridge: two networks, which share the bridge.
func TestGroups(t *testing.T) {
	t.Parallel()
	five := vlan("br.5", policy.Isolated, policy.Allow, "10.5.0.2")
	six := vlan("br.6", policy.SameBridge, policy.Deny, "10.6.0.2")
	k := holding(t, policy.Desired(five, six))
	want := map[string][]string{
		setIsolated:      {`"br"`, `"br.5"`, `"br.6"`},
		setPublished:     {`"br.5"`}, // the bridge: one of both denies
		setBlockedWithin: {`"br" . "br.5"`, `"br.5" . "br"`, `"br.5" . "br.5"`},
		setSameBridge: {
			`"br" . "br"`, `"br" . "br.5"`, `"br" . "br.6"`, `"br.5" . "br"`, `"br.5" . "br.5"`, `"br.6" . "br"`, `"br.6" . "br.6"`,
		},
		chainForged: {
			`fib saddr oifname "br" jump drop_forged`,
			`iifname != "br" fib saddr oifname "br.5" jump drop_forged`, `iifname != "br" fib saddr oifname "br.6" jump drop_forged`,
		},
		setIPv4: {`"br" . 10.5.0.2`, `"br" . 10.6.0.2`, `"br.5" . 10.5.0.2`, `"br.6" . 10.6.0.2`},
	}
	compare := func() {
		t.Helper()
		for set, elements := range want {
			if set == chainForged {
				continue
			}
			if diff := cmp.Diff(elements, slices.Sorted(slices.Values(k.elements(set)))); diff != "" {
				t.Errorf("%s: %s", set, diff)
			}
		}
		var forged []string
		for key := range readSnapshot(t, k).packets.forged() {
			forged = append(forged, forgedRule(key).text)
		}
		slices.Sort(forged)
		if diff := cmp.Diff(want[chainForged], forged); diff != "" {
			t.Errorf("%s: %s", chainForged, diff)
		}
	}
	compare()
	if err := check(t, k, policy.Desired(five, six)); err != nil {
		t.Error(err)
	}
	// One of them goes, and the bridge stays.
	gone := policy.Desired(five)
	gone.Bridges[0].Kept = true
	remove(t, k, gone)
	want = map[string][]string{
		setIsolated: {`"br"`, `"br.6"`}, setPublished: nil, setBlockedWithin: nil,
		setSameBridge: {`"br" . "br"`, `"br" . "br.6"`, `"br.6" . "br"`, `"br.6" . "br.6"`},
		chainForged:   {`fib saddr oifname "br" jump drop_forged`, `iifname != "br" fib saddr oifname "br.6" jump drop_forged`},
		setIPv4:       {`"br" . 10.6.0.2`, `"br.6" . 10.6.0.2`},
	}
	compare()
	if err := check(t, k, policy.Desired(six)); err != nil {
		t.Error(err)
	}
	remove(t, k, policy.Desired(six))
	k.wantHost(t, "")
}

// TestUnknownInterfaces removes addresses whose interfaces nobody remembers.
func TestUnknownInterfaces(t *testing.T) {
	t.Parallel()
	a := vlan("br.5", policy.SameBridge, policy.Allow, "10.5.0.2")
	k := holding(t, policy.Desired(a, container("br1", policy.SameBridge, policy.Allow, "10.1.0.2")))
	remove(t, k, policy.RuleSet{Addresses: a.Addresses})
	if got := k.elements(setIPv4); !slices.Equal(got, []string{`"br1" . 10.1.0.2`}) {
		t.Errorf("left %v", got)
	}
}

// TestNothingToHold makes no table for networks that need nothing in it, and leaves none
// that has become empty.
func TestNothingToHold(t *testing.T) {
	t.Parallel()
	open := policy.Desired(container("br1", policy.Open, policy.Allow, "10.1.0.2")).With(policy.RuleSet{})
	k := newKernel()
	apply(t, k, open)
	if err := check(t, k, open); err != nil {
		t.Error(err)
	}
	k.wantHost(t, "")
	apply(t, k, policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2")).With(policy.RuleSet{}))
	apply(t, k, open)
	if err := check(t, k, open); err != nil {
		t.Error(err)
	}
	remove(t, k, open)
	k.wantHost(t, "")
}

// TestNothingRead has containers without addresses: no family is needed, so that nothing
// is read, and nothing is missing. What needs the table is not content with that.
func TestNothingRead(t *testing.T) {
	t.Parallel()
	k := newKernel()
	d := &Driver{func() (*Conn, error) { return &Conn{k.connect()}, nil }}
	unread, err := d.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	nothing := policy.Desired(container("br1", policy.Open, policy.Allow))
	if err := errors.Join(unread.Apply(nothing, nil), unread.Check(nothing), unread.Remove(nothing)); err != nil {
		t.Error(err)
	}
	something := policy.Desired(container("br1", policy.SameBridge, policy.Allow))
	if unread.Apply(something, nil) == nil || unread.Check(something) == nil {
		t.Error("the table was not read, and nothing was missing in it")
	}
	k.wantHost(t, "")
}

// TestRemoveOwn removes both tables, and none of another program's.
func TestRemoveOwn(t *testing.T) {
	t.Parallel()
	k := holding(t, policy.Desired(isolatedOn("veth1", "10.1.0.2")))
	if err := readSnapshot(t, k).RemoveOwn(); err != nil {
		t.Fatal(err)
	}
	k.wantHost(t, "")
	for _, fill := range foreignTables {
		k := newKernel()
		k.otherProgram(func(h *host) { fill(h.newTable(packets.family, tableName)) })
		before := k.host.String()
		if err := readSnapshot(t, k).RemoveOwn(); err != nil {
			t.Error(err)
		}
		k.wantHost(t, before)
	}
}
