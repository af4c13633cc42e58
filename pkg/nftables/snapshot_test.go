// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func TestFamilies(t *testing.T) {
	t.Parallel()
	if got := readSnapshot(t, newKernel()).Families(); got != policy.BothFamilies {
		t.Errorf("got %v", got.List())
	}
	unread := new(Snapshot)
	if unread.Families() != 0 || unread.DropsSameBridge("br1") ||
		unread.Remove(sample()) != nil || unread.Obstacles() != (policy.Obstacles{}) {
		t.Error("a table that was not read has something")
	}
}

// TestGuarded names the networks that had no rule against forged addresses.
func TestGuarded(t *testing.T) {
	t.Parallel()
	k := newKernel()
	guarded := func() []string {
		s := readSnapshot(t, k)
		if err := s.Apply(sample(), nil); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(s.Guarded()))
	}
	if got, want := guarded(), []string{"br1", "br2", "br3", "br5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := guarded(); got != nil {
		t.Errorf("a second time: %q", got)
	}
	k.otherProgram(func(h *host) { h.table().chain(chainForged).rules = h.table().chain(chainForged).rules[1:] })
	if got, want := guarded(), []string{"br1"}; !slices.Equal(got, want) {
		t.Errorf("without its rule: got %q, want %q", got, want)
	}
}

func TestDropsSameBridge(t *testing.T) {
	t.Parallel()
	s := readSnapshot(t, holding(t, sample()))
	before := s.conn.socket.(*fakeSocket).requests
	for bridge, want := range map[string]bool{
		"br1": false, "br2": true, "br3": true, "br4": false, "br": false, "": false,
	} {
		if got := s.DropsSameBridge(bridge); got != want {
			t.Errorf("%q: got %t, want %t", bridge, got, want)
		}
	}
	if got := s.conn.socket.(*fakeSocket).requests - before; got != 1 {
		t.Errorf("%d queries, want 1", got)
	}
	if readSnapshot(t, newKernel()).DropsSameBridge("br1") {
		t.Error("without a table: true")
	}
}

// lose deletes an element.
func (t *hostTable) lose(e element) {
	if !e.isForged() {
		delete(t.set(e.set).elements, e.key)
		return
	}
	c := t.chain(chainForged)
	c.rules = slices.DeleteFunc(c.rules, func(r []byte) bool { key, _ := forgedKey(mustExprs(r)); return key == e.key })
}

// TestMissingElement deletes each element, and expects a check to name it and an ADD
// to add only that.
func TestMissingElement(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, e := range desiredElements(sample()).packets {
		if !e.present {
			continue
		}
		tried[e.set] = true
		k := holding(t, sample())
		whole := k.host.String()
		k.otherProgram(func(h *host) { h.table().lose(e) })
		wantDifference(t, k, sample(), e.where()+" lacks "+e.String())
		k.commits = nil
		apply(t, k, sample())
		k.wantHost(t, whole)
		want := map[bool]string{false: "NEWSETELEM", true: "NEWRULE"}[e.isForged()]
		if got := kinds(k.lastCommit()); !slices.Equal(got, []string{want}) || len(k.lastCommit()) != 1 {
			t.Errorf("%s in %s: got %d changes %q", e, e.set, len(k.lastCommit()), got)
		}
	}
	if len(tried) != len(packets.ownSets())+1 {
		t.Errorf("got elements of the sets %v only", tried)
	}
}

// TestUnwantedElement changes the configuration of a bridge, and expects the elements
// that contradict it to be removed.
func TestUnwantedElement(t *testing.T) {
	t.Parallel()
	const contradicts = ", which contradicts the configuration"
	of := func(p policy.IngressPolicy, ports policy.PublishedPorts) policy.Attachment {
		return container("br1", p, ports, "10.1.0.2")
	}
	for _, test := range []struct {
		from, to policy.Attachment
		want     string
	}{
		{of(policy.Isolated, policy.Allow), of(policy.SameBridge, policy.Allow),
			`set blocked_within has "br1" . "br1"` + contradicts},
		{of(policy.SameBridge, policy.Allow), of(policy.SameBridge, policy.Deny),
			`set published_ports has "br1"` + contradicts},
		{of(policy.SameBridge, policy.Allow), of(policy.Open, policy.Allow),
			`set isolated_bridges has "br1"` + contradicts},
	} {
		k := holding(t, policy.Desired(test.from))
		wantDifference(t, k, policy.Desired(test.to), test.want)
		apply(t, k, policy.Desired(test.to))
		if err := check(t, k, policy.Desired(test.to)); err != nil {
			t.Error(err)
		}
	}
}

// TestMissingTable checks a host without a table.
func TestMissingTable(t *testing.T) {
	t.Parallel()
	k := newKernel()
	wantDifference(t, k, sample(), "the table is missing")
	if err := check(t, k, policy.RuleSet{}); err != nil {
		t.Errorf("nothing is asked for: %v", err)
	}
}

// wantDifference fails unless a check names this difference.
func wantDifference(t *testing.T, k *kernel, rs policy.RuleSet, want string) {
	t.Helper()
	if err := check(t, k, rs); err == nil || err.Error() != "table inet cni_firewall: "+want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
