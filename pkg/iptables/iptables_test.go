// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

var dual = policy.Desired(container("cni0", policy.SameBridge, policy.Allow, "10.4.0.2", "fd00::2"))

func apply(t *testing.T, rs policy.RuleSet) {
	t.Helper()
	s, err := Read(rs.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(rs, nil); err != nil {
		t.Fatal(err)
	}
}

// TestCalls counts the programs started, which is what a call costs.
func TestCalls(t *testing.T) {
	f := newFakeDual(t)
	steps := []struct {
		name string
		do   func(*Snapshot) error
		want []string
	}{
		{"something to write", func(s *Snapshot) error { return s.Apply(dual, nil) },
			[]string{"ip6tables", "ip6tables-restore", "iptables", "iptables-restore"}},
		{"nothing to write", func(s *Snapshot) error { return s.Apply(dual, nil) }, []string{"ip6tables", "iptables"}},
		{"check", func(s *Snapshot) error { return s.Check(dual) }, []string{"ip6tables", "iptables"}},
		{"remove", func(s *Snapshot) error { return s.Remove(dual) },
			[]string{"ip6tables", "ip6tables-restore", "iptables", "iptables-restore"}},
		{"remove again", func(s *Snapshot) error { return s.Remove(dual) }, []string{"ip6tables", "iptables"}},
	}
	for _, step := range steps {
		s, err := Read(policy.BothFamilies)
		if err != nil {
			t.Fatal(err)
		}
		if err := step.do(s); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, f.calls()); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

// TestFaults makes each program fail in each way, in an ADD to a host that has
// another container and in one to an empty host, and looks at what is left.
func TestFaults(t *testing.T) {
	bystander := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2"))
	for _, fault := range []string{"fail", "garbage", "locked"} {
		for _, program := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
			if fault == "garbage" && strings.HasSuffix(program, "restore") {
				continue // it prints nothing that is read
			}
			t.Run(fault+"/"+program, func(t *testing.T) {
				f := newFakeDual(t)
				apply(t, bystander)
				before := f.listing("iptables") + f.listing("ip6tables")
				f.fault(program, fault)
				s, err := Read(dual.Families())
				if err == nil {
					err = s.Apply(dual, nil)
				}
				if err == nil || !strings.Contains(err.Error(), program) && fault != "garbage" {
					t.Errorf("got error %v, want one that names %s", err, program)
				}
				if errors.Is(err, ErrLocked) != (fault == "locked") {
					t.Errorf("got %v, ErrLocked %t", err, errors.Is(err, ErrLocked))
				}
				f.repair(program)
				if err := s.Rollback(dual, false); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(before, f.listing("iptables")+f.listing("ip6tables")); diff != "" {
					t.Errorf("something is left: %s", diff)
				}
			})
		}
	}
}

// TestFailsDone has a program do its work and fail all the same, as one that is
// killed at its very end does: what counts is what the kernel holds.
func TestFailsDone(t *testing.T) {
	f := newFakeDual(t)
	f.fault("iptables-restore", "done, and fails")
	apply(t, dual)
	s, err := Read(dual.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(dual); err != nil {
		t.Error(err)
	}
}

// TestRollbackKeeps takes back what was forwarded and keeps what was closed.
func TestRollbackKeeps(t *testing.T) {
	f := newFakeDual(t)
	f.fault("ip6tables-restore", "fail")
	s, err := Read(dual.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(dual, nil); err == nil {
		t.Fatal("the fault did not show")
	}
	if err := s.Rollback(dual, true); err != nil {
		t.Fatal(err)
	}
	got := f.listing("iptables")
	if strings.Contains(got, "10.4.0.2") || strings.Contains(got, "-j ACCEPT") {
		t.Errorf("still forwarded:\n%s", got)
	}
	if !strings.Contains(got, "-o cni0 -m comment") {
		t.Errorf("no longer isolated:\n%s", got)
	}
}

// TestMeanwhile lets another program change the table between reading and
// writing.
func TestMeanwhile(t *testing.T) {
	const jump = `-I FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`
	tests := map[string]struct {
		before, meanwhile string // listing, command
	}{
		"a chain of ours":        {"", "-N CNI-FORWARD"},
		"a stage":                {"", "-N CNI-ISOLATION-STAGE-1"},
		"a rule of its own":      {"", "-A FORWARD -j ACCEPT"},
		"our jump, ahead of all": {"-N CNI-FORWARD\n", jump},
	}
	rs := dual.In(policy.IPv4)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeDual(t)
			f.write("iptables", test.before)
			f.fault("iptables-restore", "meanwhile "+test.meanwhile)
			apply(t, rs)
			s, err := Read(rs.Families())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(rs); err != nil {
				t.Errorf("%v in\n%s", err, f.listing("iptables"))
			}
		})
	}
}

// TestRemoveMeanwhile lets upstream's plugin isolate another bridge while the
// stages are about to be deleted.
func TestRemoveMeanwhile(t *testing.T) {
	f := newFakeDual(t)
	rs := dual.In(policy.IPv4)
	apply(t, rs)
	const rule = `-I CNI-ISOLATION-STAGE-2 -o br9 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP`
	f.fault("iptables-restore", "meanwhile "+rule)
	s, err := Read(policy.Families(policy.IPv4))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(rs); err != nil {
		t.Fatal(err)
	}
	if got := f.listing("iptables"); !strings.Contains(got, "-o br9") || strings.Contains(got, "cni0") {
		t.Errorf("got\n%s", got)
	}
}

// TestRollbackPolicy has an ADD fail that was to change a bridge's policy: the former
// one is back, and the isolation of another bridge, which that ADD healed, stays.
func TestRollbackPolicy(t *testing.T) {
	ports := map[policy.PublishedPorts]policy.PublishedPorts{policy.Deny: policy.Allow, policy.Allow: policy.Deny}
	for _, change := range changes() {
		from, to := change[0], change[1]
		for former, latter := range ports {
			for _, others := range [][]policy.Attachment{nil, {container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2")}} {
				t.Run(fmt.Sprintf("%s/%s to %s/%s beside %d", from, former, to, latter, len(others)), func(t *testing.T) {
					f := newFakeDual(t)
					apply(t, policy.Desired(append(others, container("cni0", from, former, "10.4.0.2", "fd00::2"))...))
					golden := f.listing("iptables")
					damaged := slices.DeleteFunc(slices.Collect(strings.Lines(golden)), func(line string) bool {
						return strings.HasPrefix(line, "-A CNI-ISOLATION-STAGE-1 -i br9 -o br9")
					})
					f.write("iptables", strings.Join(damaged, ""))
					f.fault("ip6tables-restore", "fail")
					own := policy.Desired(container("cni0", to, latter, "10.4.0.2", "fd00::2"))
					s, err := Read(policy.BothFamilies)
					if err != nil {
						t.Fatal(err)
					}
					if err := s.Apply(policy.Desired(append(others, container("cni0", to, latter, "10.4.0.2", "fd00::2"))...), nil); err == nil {
						t.Fatal("the fault did not show")
					}
					f.repair("ip6tables-restore")
					if err := s.Rollback(own, from.Isolates()); err != nil {
						t.Fatal(err)
					}
					for _, chain := range []string{chainCNIForward, chainAccept} {
						if got := parse(t, f.listing("iptables")).rules[chain].list; len(got) > 0 && notAdminJump(got[0]) {
							t.Errorf("something is accepted ahead of the operator's chain in %s: %q", chain, got)
						}
					}
					want, got := strings.Split(golden, "\n"), strings.Split(f.listing("iptables"), "\n")
					for _, lines := range [][]string{want, got} { // bridges have no order among each other
						slices.SortStableFunc(lines, func(a, b string) int {
							return strings.Compare(fmt.Sprint(strings.Contains(a, "br9")), fmt.Sprint(strings.Contains(b, "br9")))
						})
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}

// changes are from each policy to each.
func changes() [][2]policy.IngressPolicy {
	var all [][2]policy.IngressPolicy
	for _, from := range policy.IngressPolicies {
		for _, to := range policy.IngressPolicies {
			all = append(all, [2]policy.IngressPolicy{from, to})
		}
	}
	return all
}

func TestNotInstalled(t *testing.T) {
	newFake(t, "iptables", "iptables-restore", "ip6tables")
	if _, err := Read(policy.Families(policy.IPv4)); err != nil {
		t.Errorf("IPv4 needs no ip6tables: %v", err)
	}
	s, err := Read(policy.BothFamilies)
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "ip6tables-restore, which IPv6 addresses need, is not installed") {
		t.Errorf("got error %v", err)
	}
	if err := s.Remove(dual); err != nil {
		t.Errorf("the family that is there: %v", err)
	}
	installed, err := Installed(policy.BothFamilies)
	if installed != policy.Families(policy.IPv4) || !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got %v, %v", installed.List(), err)
	}
}

func TestCheckNames(t *testing.T) {
	f := newFakeDual(t)
	apply(t, dual)
	whole := f.listing("iptables")
	for line := range strings.Lines(whole) {
		if !strings.HasPrefix(line, "-A") {
			continue
		}
		f.write("iptables", strings.Replace(whole, line, "", 1))
		s, err := Read(dual.Families())
		if err != nil {
			t.Fatal(err)
		}
		err = s.Check(dual)
		if err == nil || !strings.HasSuffix(err.Error(), "is missing: "+strings.TrimSpace(line)) {
			t.Errorf("without %s: got error %v", line, err)
		}
	}
	f.write("iptables", whole+"-I FORWARD -j ACCEPT\n")
	s, err := Read(dual.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(dual); err == nil || !strings.Contains(err.Error(), "rule is out of place: -A FORWARD") {
		t.Errorf("with a bypass: got error %v", err)
	}
}
