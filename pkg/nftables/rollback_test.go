// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// failedAdds are the ways in which an ADD fails and is rolled back.
var failedAdds = map[string]struct {
	fault func(*kernel)
	fails bool
}{
	"something else fails": {func(*kernel) {}, false},
	"done, without a reply": {func(k *kernel) {
		k.unanswered = func(n int) (bool, bool) { return n == 0, true }
	}, true},
	"not done, without a reply": {func(k *kernel) {
		k.unanswered = func(n int) (bool, bool) { return n == 0, n != 0 }
	}, true},
	"refused": {func(k *kernel) {
		k.refuse = nth(0, &fault{0, unix.ENOSPC})
	}, true},
	"done at the second attempt": {func(k *kernel) {
		k.concurrent = func(n int, _ *host) bool { return n == 0 }
	}, false},
}

// TestRollbackPolicy rolls back every change of a bridge's policy, after every
// failure. The bridge has its previous elements, and no others.
func TestRollbackPolicy(t *testing.T) {
	t.Parallel()
	other := container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2")
	for name, way := range failedAdds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachPolicyChange(func(from, to policy.Attachment) {
				k := holding(t, policy.Desired(other, from))
				before := k.host.String()
				k.commits = nil
				way.fault(k)
				s := readSnapshot(t, k)
				own := policy.Desired(to)
				if err := s.Apply(policy.Desired(other, to), nil); (err != nil) != way.fails {
					t.Fatalf("got error %v", err)
				}
				if err := s.Rollback(own, false); err != nil {
					t.Fatal(err)
				}
				k.wantHost(t, before)
			})
		})
	}
}

// eachPolicyChange calls do for each pair of configurations of a bridge. The second
// one has another container.
func eachPolicyChange(do func(from, to policy.Attachment)) {
	for _, p := range policy.IngressPolicies {
		for _, q := range policy.IngressPolicies {
			for _, ports := range policy.PublishedPortsValues {
				for _, portsThen := range policy.PublishedPortsValues {
					do(container("cni0", p, ports, "10.4.0.2"), container("cni0", q, portsThen, "10.4.0.3", "fd00::3"))
				}
			}
		}
	}
}

// TestRollbackUnanswered expects an error, and no retry, for a transaction without a
// reply.
func TestRollbackUnanswered(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.unanswered = func(n int) (bool, bool) { return n == 0, true }
	if err := readSnapshot(t, k).Apply(sample(), nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
	if len(k.commits) != 1 {
		t.Errorf("got %d transactions, want 1: it may have been done", len(k.commits))
	}
}

// TestRollbackFirst expects no table if there was none before.
func TestRollbackFirst(t *testing.T) {
	t.Parallel()
	for name, way := range failedAdds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel()
			way.fault(k)
			s := readSnapshot(t, k)
			if err := s.Apply(sample(), nil); (err != nil) != way.fails {
				t.Fatalf("got error %v", err)
			}
			if err := s.Rollback(sample(), false); err != nil {
				t.Fatal(err)
			}
			k.wantHost(t, "")
		})
	}
}

// TestRollbackNothing expects no write if Apply wrote nothing.
func TestRollbackNothing(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.commits = nil
	s := readSnapshot(t, k)
	unread := new(Snapshot)
	for _, err := range []error{s.Apply(sample(), nil), s.Rollback(sample(), false), unread.Rollback(sample(), true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(k.commits) > 0 {
		t.Errorf("written: %v", kinds(k.lastCommit()))
	}
}

// TestRollbackRestores rolls back an ADD that deletes every element. The table stays:
// it gets its elements back.
func TestRollbackRestores(t *testing.T) {
	t.Parallel()
	k := holding(t, policy.Desired(container("br1", policy.Isolated, policy.Deny))) // without an address
	before := k.host.String()
	added := policy.Desired(container("br1", policy.Open, policy.Deny, "10.1.0.9"))
	s := readSnapshot(t, k)
	if err := s.Apply(added, nil); err != nil {
		t.Fatal(err)
	}
	if got := k.elements(setIsolated); len(got) > 0 {
		t.Fatalf("still isolated: %q", got)
	}
	if err := s.Rollback(added, false); err != nil {
		t.Fatal(err)
	}
	k.wantHost(t, before)
}

// TestRollbackAgain has a rollback fail, and repeats it.
func TestRollbackAgain(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	before := k.host.String()
	s := readSnapshot(t, k)
	if err := s.Apply(oneMore(), nil); err != nil {
		t.Fatal(err)
	}
	for _, done := range []bool{false, true} {
		this := len(k.commits)
		k.unanswered = func(n int) (bool, bool) { return n == this, done || n != this }
		if err := s.Rollback(oneMore(), false); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got error %v", err)
		}
	}
	if err := s.Rollback(oneMore(), false); err != nil {
		t.Fatal(err)
	}
	k.wantHost(t, before)
}

// TestRollbackKeeps removes the addresses, and keeps the isolation that was missing
// by mistake.
func TestRollbackKeeps(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		was := container("cni0", policy.Isolated, policy.Deny, "10.4.0.2")
		k := holding(t, policy.Desired(was))
		k.otherProgram(func(h *host) {
			for _, set := range []string{setIsolated, setBlockedWithin, setSameBridge} {
				clear(h.table().set(set).elements)
			}
			h.table().chain(chainForged).rules = nil
		})
		added := policy.Desired(container("cni0", policy.Isolated, policy.Deny, "10.4.0.3", "fd00::3"))
		s := readSnapshot(t, k)
		if err := s.Apply(added, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(added, keep); err != nil {
			t.Fatal(err)
		}
		if got := k.elements(setIPv4); !slices.Equal(got, []string{`"cni0" . 10.4.0.2`}) || len(k.elements(setIPv6)) > 0 {
			t.Errorf("keep %t: accepted are %q and %q", keep, got, k.elements(setIPv6))
		}
		for _, set := range []string{setIsolated, setBlockedWithin, setSameBridge} {
			if got := len(k.elements(set)) == 1; got != keep {
				t.Errorf("keep %t: in set %s %t", keep, set, got)
			}
		}
		if forged := readSnapshot(t, k).packets.forged(); (len(forged) == 1) != keep {
			t.Errorf("keep %t: forged_source has %v", keep, forged)
		}
	}
}

// TestRollbackKeepsWhatWas rolls back every change of an isolated bridge with
// keepIsolation. Its previous isolation is back.
func TestRollbackKeepsWhatWas(t *testing.T) {
	t.Parallel()
	eachPolicyChange(func(_, to policy.Attachment) {
		k := holding(t, policy.Desired(container("cni0", policy.Isolated, policy.Allow, "10.4.0.2")))
		before := k.host.String()
		s := readSnapshot(t, k)
		if err := s.Apply(policy.Desired(to), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(policy.Desired(to), true); err != nil {
			t.Fatal(err)
		}
		k.wantHost(t, before)
	})
}

// TestRollbackKeepsPolicy rolls back a change of policy with keepIsolation, on a
// bridge that was isolated as it should be. It then publishes no ports that it did
// not publish before, and is no stricter.
func TestRollbackKeepsPolicy(t *testing.T) {
	t.Parallel()
	eachPolicyChange(func(from, to policy.Attachment) {
		if !from.IngressPolicy.Isolates() {
			return
		}
		k := holding(t, policy.Desired(from))
		before := k.host.String()
		s := readSnapshot(t, k)
		if err := s.Apply(policy.Desired(to), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rollback(policy.Desired(to), true); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, k.host.String()); diff != "" {
			t.Errorf("from %s %s to %s %s: %s",
				from.IngressPolicy, from.PublishedPorts, to.IngressPolicy, to.PublishedPorts, diff)
		}
	})
}
