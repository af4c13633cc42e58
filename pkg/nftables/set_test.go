// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestListedSets looks up so many elements that their sets are listed, and expects
// to find all.
func TestListedSets(t *testing.T) {
	t.Parallel()
	rs := policy.Desired(attachmentsOn(40)...)
	k := holding(t, rs)
	k.commits = nil
	apply(t, k, rs)
	if len(k.commits) > 0 {
		t.Errorf("written again: %v", kinds(k.lastCommit()))
	}
	lost := addressElements(rs, true)[4]
	k.otherProgram(func(h *host) { h.table().lose(lost) })
	err := check(t, k, rs)
	if want := "table inet cni_firewall: set " + lost.set + " lacks " + lost.String(); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// TestElementsInterrupted has another program change tables while the elements of a
// set are listed.
func TestElementsInterrupted(t *testing.T) {
	t.Parallel()
	rs := policy.Desired(attachmentsOn(40)...)
	for verb, do := range map[string]func(*Snapshot) error{
		"apply":  func(s *Snapshot) error { return s.Apply(rs, nil) },
		"check":  func(s *Snapshot) error { return s.Check(rs) },
		"remove": func(s *Snapshot) error { return s.Remove(sample()) },
	} {
		k := holding(t, sample())
		apply(t, k, rs)
		s := readSnapshot(t, k)
		n := 0
		k.interrupt = func(int) bool { n++; return n == 1 }
		if err := do(s); err != nil || n == 0 {
			t.Errorf("%s: %d sets were listed, got error %v", verb, n, err)
		}
	}
}
