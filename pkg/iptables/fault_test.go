// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestFaults makes each program fail in each way during an ADD to a host that has
// another container, and wants the rollback to leave what was there before.
func TestFaults(t *testing.T) {
	bystander := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2"))
	for _, fault := range []string{"fail", "garbage", "locked"} {
		for _, program := range []string{"iptables", "ip6tables", "iptables-restore", "ip6tables-restore"} {
			if fault == "garbage" && strings.HasSuffix(program, "restore") {
				continue // its output is not read
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
					t.Errorf("the rollback differs from the state before: %s", diff)
				}
			})
		}
	}
}

// TestFailureAfterWork has a program do its work and fail, as one does that is killed
// at its very end. What counts is what the kernel holds.
func TestFailureAfterWork(t *testing.T) {
	f := newFakeDual(t)
	f.fault("iptables-restore", "work, then fail")
	apply(t, dual)
	s, err := Read(dual.Families())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(dual); err != nil {
		t.Error(err)
	}
}

// TestConcurrentChange has another program change the table between reading and
// writing.
func TestConcurrentChange(t *testing.T) {
	const jump = `-I FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`
	tests := map[string]struct {
		before, meanwhile string // listing, command
	}{
		"CNI-FORWARD":             {"", "-N CNI-FORWARD"},
		"a stage":                 {"", "-N CNI-ISOLATION-STAGE-1"},
		"an accept at the end":    {"", "-A FORWARD -j ACCEPT"},
		"an accept at the head":   {"", "-I FORWARD -j ACCEPT"},
		"the jump to CNI-FORWARD": {"-N CNI-FORWARD\n", jump},
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

// TestConcurrentChangeInRemove has upstream's plugin isolate another bridge while the
// stages are about to be deleted.
func TestConcurrentChangeInRemove(t *testing.T) {
	f := newFakeDual(t)
	rs := dual.In(policy.IPv4)
	apply(t, rs)
	f.fault("iptables-restore", "meanwhile -I CNI-ISOLATION-STAGE-2 "+string(dropToBridge("br9")))
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
