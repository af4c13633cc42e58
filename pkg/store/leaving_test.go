// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"strings"
	"testing"
)

func TestLeaving(t *testing.T) {
	t.Parallel()
	s := open(t)
	for range 2 {
		if err := s.MarkLeaving(7); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.List(); len(l.Leaving) != 1 || l.Leaving[0] != 7 || len(l.Problems) > 0 {
		t.Errorf("got %+v", l)
	}
	for range 2 {
		if err := s.ForgetLeaving(7); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, s); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

func TestMarkLeavingFails(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := os.Remove(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkLeaving(7); err == nil || !strings.Contains(err.Error(), "remembering a leaving port") {
		t.Errorf("got error %v", err)
	}
}
