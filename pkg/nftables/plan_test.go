// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestTransactions compares the kinds of changes that each call sends: every
// deletion makes the kernel wait.
func TestTransactions(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	other := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2"))
	steps := []struct {
		name string
		do   func(*Snapshot) error
		want []string // kinds of changes; nil for no transaction
	}{
		{"the same again", func(s *Snapshot) error { return s.Apply(sample(), nil) }, nil},
		{"one more container", func(s *Snapshot) error { return s.Apply(oneMore(), nil) }, []string{"NEWSETELEM"}},
		{"one more bridge", func(s *Snapshot) error { return s.Apply(other, nil) }, []string{"NEWSETELEM", "NEWRULE", "NEWSETELEM"}},
		{"nothing at all", func(s *Snapshot) error { return s.Apply(policy.RuleSet{}, nil) }, nil},
		{"one bridge less", func(s *Snapshot) error { return s.Remove(other) }, []string{"DELSETELEM", "DELRULE", "DELSETELEM"}},
		{"the same less", func(s *Snapshot) error { return s.Remove(other) }, nil},
		{"a check", func(s *Snapshot) error { return s.Check(sample()) }, nil},
		{"all but one", func(s *Snapshot) error { return s.Remove(sample()) },
			[]string{"DELSETELEM", "DELRULE", "DELSETELEM", "DELRULE", "DELSETELEM", "DELRULE", "DELSETELEM", "DELRULE", "DELSETELEM"}},
		{"the last", func(s *Snapshot) error { return s.Remove(oneMore()) }, []string{"DELTABLE"}},
		{"no table", func(s *Snapshot) error { return s.Remove(oneMore()) }, nil},
	}
	for _, step := range steps {
		k.commits = nil
		if err := step.do(readSnapshot(t, k)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var got []string
		if len(k.commits) > 0 {
			got = kinds(k.lastCommit())
		}
		if diff := cmp.Diff(step.want, got); diff != "" || len(k.commits) > 1 {
			t.Errorf("%s: %d transactions: %s", step.name, len(k.commits), diff)
		}
	}
}

// forward returns the texts of the rules in the chain forward.
func forward(k *kernel) []string {
	var texts []string
	for _, r := range k.host.table().chain(chainForward).rules {
		texts = append(texts, textOf(r))
	}
	return texts
}

// TestAdminChains adds a second chain of the operator to a first one.
func TestAdminChains(t *testing.T) {
	t.Parallel()
	first, second := sample(), oneMore()
	first.AdminChains, second.AdminChains = []string{"ONE"}, []string{"ANOTHER"}
	k := holding(t, first)
	k.otherProgram(func(h *host) { h.table().chain("ONE").rules = [][]byte{counterRule} })
	apply(t, k, second)
	jumps := slices.Sorted(slices.Values(forward(k)[:2]))
	if diff := cmp.Diff([]string{"jump ANOTHER", "jump ONE"}, jumps); diff != "" {
		t.Error(diff)
	}
	if got := len(forward(k)); got != 7 {
		t.Errorf("got %d rules in chain forward, want 7", got)
	}
	if got := len(k.host.table().chain("ONE").rules); got != 1 {
		t.Errorf("got %d rules in the operator's chain, want 1", got)
	}
	// Another order of the jumps is no difference.
	k.otherProgram(func(h *host) { slices.Reverse(h.table().chain(chainForward).rules[:2]) })
	for _, rs := range []policy.RuleSet{first, second} {
		if err := check(t, k, rs); err != nil {
			t.Error(err)
		}
	}
}

// TestAdminJumpFirst expects the jump to the operator's chain ahead of the accepts.
func TestAdminJumpFirst(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.otherProgram(func(h *host) {
		rules := h.table().chain(chainForward).rules
		rules[0], rules[1] = rules[1], rules[0]
	})
	err := check(t, k, sample())
	if err == nil || !strings.HasSuffix(err.Error(), "chain forward: rule 1 is missing or differs: jump CNI-ADMIN") {
		t.Errorf("got error %v", err)
	}
	apply(t, k, sample())
	if got := forward(k); got[0] != "jump CNI-ADMIN" || len(got) != 6 {
		t.Errorf("got %q", got)
	}
}

// TestAdminChainReserved expects an error for an operator's chain that is one of the
// plugin's.
func TestAdminChainReserved(t *testing.T) {
	t.Parallel()
	for _, l := range chains {
		for _, k := range []*kernel{newKernel(), holding(t, sample())} {
			before := k.host.String()
			k.commits = nil
			rs := sample()
			rs.AdminChains = []string{l.name}
			want := `iptablesAdminChainName "` + l.name + `" is reserved: it is one of the plugin's own chains`
			s := readSnapshot(t, k)
			for _, err := range []error{s.Apply(rs, nil), s.Check(rs)} {
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("got error %v, want %s", err, want)
				}
			}
			k.wantHost(t, before)
			if len(k.commits) > 0 {
				t.Error("a transaction was sent")
			}
		}
	}
}
