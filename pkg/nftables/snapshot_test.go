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
	if unread.Families() != 0 || unread.DropsSameBridge("br1") || unread.Remove(sample()) != nil || unread.Obstacles() != (policy.Obstacles{}) {
		t.Error("a table that was not read has something")
	}
}

func TestDropsSameBridge(t *testing.T) {
	t.Parallel()
	s := readSnapshot(t, holding(t, sample()))
	before := s.conn.socket.(*fakeSocket).requests
	for bridge, want := range map[string]bool{"br1": false, "br2": true, "br3": true, "br4": false, "br": false, "": false} {
		if got := s.DropsSameBridge(bridge); got != want {
			t.Errorf("%q: got %t, want %t", bridge, got, want)
		}
	}
	if got := s.conn.socket.(*fakeSocket).requests - before; got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	if readSnapshot(t, newKernel()).DropsSameBridge("br1") {
		t.Error("without a table: true")
	}
}

// TestMissingElement takes each element out of its set.
func TestMissingElement(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, m := range desiredElements(sample()) {
		if !m.present {
			continue
		}
		tried[m.set] = true
		k := holding(t, sample())
		whole := k.host.String()
		k.otherProgram(func(h *host) { delete(h.table().set(m.set).elements, m.key) })
		wantDifference(t, k, sample(), "set "+m.set+" lacks "+m.String())
		k.commits = nil
		apply(t, k, sample())
		k.holds(t, whole)
		if got := kinds(k.last()); !slices.Equal(got, []string{"NEWSETELEM"}) || len(k.last()) != 1 {
			t.Errorf("%s in %s: got %d changes %q", m, m.set, len(k.last()), got)
		}
	}
	if len(tried) != len(sets) {
		t.Errorf("got elements of the sets %v only", tried)
	}
}

// TestUnwantedElement changes the configuration of a bridge, and expects what no
// longer belongs to go.
func TestUnwantedElement(t *testing.T) {
	t.Parallel()
	const surplus = ", which contradicts the configuration"
	for _, test := range []struct {
		from, to policy.Attachment
		want     string
	}{
		{container("br1", policy.Isolated, policy.Allow, "10.1.0.2"), container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"),
			`set blocked_within has "br1" . "br1"` + surplus},
		{container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"), container("br1", policy.SameBridge, policy.Deny, "10.1.0.2"),
			`set published_ports has "br1"` + surplus},
		{container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"), container("br1", policy.Open, policy.Allow, "10.1.0.2"),
			`set isolated_bridges has "br1"` + surplus},
	} {
		k := holding(t, policy.Desired(test.from))
		wantDifference(t, k, policy.Desired(test.to), test.want)
		apply(t, k, policy.Desired(test.to))
		if err := check(t, k, policy.Desired(test.to)); err != nil {
			t.Error(err)
		}
	}
}

// TestMissingTable is a host where everything is gone.
func TestMissingTable(t *testing.T) {
	t.Parallel()
	k := newKernel()
	wantDifference(t, k, sample(), "the table is missing")
	if err := check(t, k, policy.RuleSet{}); err != nil {
		t.Errorf("nothing is asked for: %v", err)
	}
}

// wantDifference fails unless a check says that first.
func wantDifference(t *testing.T, k *kernel, rs policy.RuleSet, want string) {
	t.Helper()
	if err := check(t, k, rs); err == nil || err.Error() != "table inet cni_firewall: "+want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
