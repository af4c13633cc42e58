// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMarks remembers ports and addresses, each once, and forgets them.
func TestMarks(t *testing.T) {
	t.Parallel()
	s := open(t)
	ipv4, ipv6 := netip.MustParseAddr("10.4.0.2"), netip.MustParseAddr("fd00::2")
	do := func(port, flag func(int) error, address func(netip.Addr) error) {
		t.Helper()
		for range 2 {
			if err := errors.Join(port(7), flag(7), flag(8), address(ipv4), address(ipv6)); err != nil {
				t.Fatal(err)
			}
		}
	}
	do(s.MarkLeaving, s.MarkFlagged, s.MarkFreed)
	l := s.List()
	slices.Sort(l.Flagged)
	slices.SortFunc(l.Freed, netip.Addr.Compare)
	if !slices.Equal(l.Leaving, []int{7}) || !slices.Equal(l.Flagged, []int{7, 8}) ||
		!slices.Equal(l.Freed, []netip.Addr{ipv4, ipv6}) || len(l.Problems)+len(l.Entries) > 0 {
		t.Errorf("got %+v", l)
	}
	do(s.ForgetLeaving, s.ForgetFlagged, s.ForgetFreed)
	if left := files(t, s); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// TestOddMarks has files that no mark is named like: forgetting would not remove them.
func TestOddMarks(t *testing.T) {
	t.Parallel()
	s := open(t)
	odd := []string{
		"flagged,", "flagged,+7", "flagged,-7", "flagged,0", "flagged,07", "flagged,7,8", "freed,", "freed,0A040002",
		"freed,0a0400", "leaving", "leaving,", "leaving,x", "left,7",
	}
	for _, name := range odd {
		if err := os.WriteFile(s.path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.List(); len(l.Leaving)+len(l.Flagged)+len(l.Freed) > 0 || len(l.Problems) != len(odd) {
		t.Errorf("got %+v, want %d problems", l, len(odd))
	}
}

func TestMarkLeavingFails(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := os.Remove(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkLeaving(7); err == nil || !strings.Contains(err.Error(), "remembering what is leaving") {
		t.Errorf("got error %v", err)
	}
}
