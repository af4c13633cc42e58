// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestMissingModule has a kernel without a module refuse the table, to an ADD and to
// STATUS, and tells which one.
func TestMissingModule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lacks []expression
		want  []string
	}{
		"ct":         {[]expression{{unix.NFPROTO_INET, "ct"}}, []string{"nft_ct"}},
		"fib":        {[]expression{{unix.NFPROTO_INET, "fib"}}, []string{"nft_fib_inet"}},
		"ct and fib": {[]expression{{unix.NFPROTO_INET, "ct"}, {unix.NFPROTO_INET, "fib"}}, []string{"nft_ct"}},
		"counter":    {[]expression{{unix.NFPROTO_INET, "dynset"}}, []string{"nft_counter"}},
		"meta":       {[]expression{{unix.NFPROTO_BRIDGE, "meta"}}, []string{"nft_meta_bridge"}},
		"others":     {[]expression{{unix.NFPROTO_IPV4, "ct"}, {unix.NFPROTO_BRIDGE, "fib"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel()
			s := readSnapshot(t, k)
			if err := errors.Join(s.Ready(policy.SameBridge), s.Ready(policy.Isolated)); err != nil {
				t.Fatal("with all modules:", err)
			}
			k.lacks = map[expression]bool{}
			for _, e := range test.lacks {
				k.lacks[e] = true
			}
			wantModules(t, "STATUS", s.Ready(policy.Isolated), test.want)
			k.wantHost(t, "")
			wantModules(t, "ADD", s.Apply(policy.Desired(isolatedOn("veth1", "10.1.0.2")), nil), test.want)
		})
	}
}

// TestMissingForIsolated tells a network that is not isolated within its bridge nothing
// of what only the table for frames needs.
func TestMissingForIsolated(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.lacks = map[expression]bool{{unix.NFPROTO_BRIDGE, "meta"}: true}
	for p, want := range map[policy.IngressPolicy][]string{
		policy.Open: nil, policy.SameBridge: nil, policy.Isolated: {"nft_meta_bridge"},
	} {
		wantModules(t, string(p), readSnapshot(t, k).Ready(p), want)
	}
}

// TestMissingInPart tells which modules one rule needs, where no other was written.
func TestMissingInPart(t *testing.T) {
	t.Parallel()
	k := newKernel()
	apply(t, k, sample())
	k.otherProgram(func(h *host) { h.table().chain(chainArrival).rules = nil })
	k.lacks = map[expression]bool{{unix.NFPROTO_INET, "fib"}: true}
	wantModules(t, "repair", readSnapshot(t, k).Apply(sample(), nil), []string{"nft_ct", "nft_fib_inet"})
}

// TestRefusedKinds tells a module that is missing from other reasons to refuse a change.
func TestRefusedKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind  string
		errno syscall.Errno
		want  []string
		words string
	}{
		{"NEWTABLE", unix.EOPNOTSUPP, nil, "no nf_tables for the family inet (CONFIG_NF_TABLES_INET)"},
		{"NEWTABLE", unix.EAFNOSUPPORT, nil, "no nf_tables for the family inet (CONFIG_NF_TABLES_INET)"},
		{"NEWTABLE", unix.ENOMEM, nil, "cannot allocate memory"},
		{"NEWSET", unix.EOPNOTSUPP, []string{"nf_tables_set"}, "operation not supported"},
		{"NEWSET", unix.ENOENT, nil, "no such file or directory"},
		{"NEWCHAIN", unix.ENOENT, nil, "no such file or directory"},
		{"NEWRULE", unix.ENOENT, []string{"nft_counter"}, "no such file or directory"},
		{"NEWRULE", unix.EINVAL, nil, "invalid argument"},
		{"NEWSETELEM", unix.ENOENT, nil, "no such file or directory"},
	} {
		k := newKernel()
		k.refuse = func(int) *fault { return &fault{indexOf(k.lastCommit(), test.kind), test.errno} }
		s := readSnapshot(t, k)
		err := s.Apply(sample(), nil)
		wantModules(t, test.kind+" "+test.errno.Error(), err, test.want)
		if !errors.Is(err, test.errno) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: got %v", test.kind, err)
		}
	}
}

// TestReadyAgain asks again after another program's change, and not where there is a
// table.
func TestReadyAgain(t *testing.T) {
	t.Parallel()
	k := newKernel()
	s := readSnapshot(t, k)
	k.otherProgram(func(h *host) { h.newTable(unix.NFPROTO_IPV4, "other") })
	if err := s.Ready(policy.SameBridge); err != nil {
		t.Error(err)
	}
	apply(t, k, policy.Desired(isolatedOn("veth1", "10.1.0.2")))
	k.refuse = func(int) *fault { return &fault{-1, unix.ENOMEM} }
	if err := readSnapshot(t, k).Ready(policy.Isolated); err != nil {
		t.Error("asked:", err)
	}
	if err := (&Snapshot{}).Ready(policy.Open); !errors.Is(err, errNotRead) {
		t.Errorf("unread: %v", err)
	}
	for name, fill := range foreignTables {
		k := newKernel()
		k.otherProgram(func(h *host) { fill(h.newTable(unix.NFPROTO_INET, tableName)) })
		if err := readSnapshot(t, k).Ready(policy.Open); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func wantModules(t *testing.T, when string, err error, want []string) {
	t.Helper()
	var m *MissingModule
	if errors.As(err, &m) != (want != nil) || m != nil && !cmp.Equal(m.Names, want) {
		t.Errorf("%s: got %v, want %v", when, err, want)
	}
}

// indexOf returns the first change of a kind.
func indexOf(changes []message, kind string) int {
	for i, m := range changes {
		if kindName(m.kind) == kind {
			return i
		}
	}
	return -1
}
