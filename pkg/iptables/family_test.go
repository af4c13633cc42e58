// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestGivesUp has another program make and delete a chain before each write.
func TestGivesUp(t *testing.T) {
	f := newFakeDual(t)
	f.fault("iptables-restore", "toggle CNI-FORWARD")
	rs := dual.In(policy.IPv4)
	s, err := Read(rs.Families())
	if err != nil {
		t.Fatal(err)
	}
	f.calls()
	const says = "IPv4: another program keeps changing the table: gave up after 5 attempts"
	if err := s.Apply(rs, nil); err == nil || err.Error() != says {
		t.Errorf("got error %v, want %q", err, says)
	}
	writes := slices.DeleteFunc(f.calls(), func(program string) bool { return program != "iptables-restore" })
	if len(writes) != maxAttempts {
		t.Errorf("got %d attempts, want %d", len(writes), maxAttempts)
	}
}

// TestJournal wants a step a family, with the commands that iptables-restore got.
func TestJournal(t *testing.T) {
	newFakeDual(t)
	var mu sync.Mutex
	var steps []journal.Step
	journal.Listen(func(s journal.Step) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, s)
	})
	t.Cleanup(func() { journal.Listen(nil) })
	apply(t, dual)
	apply(t, dual) // nothing to write: no step
	slices.SortFunc(steps, func(a, b journal.Step) int { return strings.Compare(a.Where, b.Where) })
	var got []string
	for _, s := range steps {
		got = append(got, s.Where)
		first, last := s.Added[0], s.Added[len(s.Added)-1]
		if len(s.Removed) > 0 || first != "-N CNI-ADMIN" || !strings.HasPrefix(last, "-A CNI-FORWARD -s ") {
			t.Errorf("%s: got %q and %q", s.Where, s.Added, s.Removed)
		}
	}
	if diff := cmp.Diff([]string{"ip6tables", "iptables"}, got); diff != "" {
		t.Error(diff)
	}
	if err := snapshot(t).Remove(dual); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps[2:] {
		if len(s.Added) > 0 || !slices.Contains(s.Removed, "-X CNI-ISOLATION-STAGE-1") {
			t.Errorf("remove: got %q and %q", s.Added, s.Removed)
		}
	}
}
