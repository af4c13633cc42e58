// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
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

// TestCalls counts the programs that a call starts: they are what it costs.
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

func TestNotInstalled(t *testing.T) {
	newFake(t, "iptables", "iptables-restore", "ip6tables")
	if _, err := Read(policy.Families(policy.IPv4)); err != nil {
		t.Errorf("IPv4 needs no ip6tables: %v", err)
	}
	s, err := Read(policy.BothFamilies)
	const says = "ip6tables-restore, which IPv6 addresses need, is not installed"
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), says) {
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
