// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// outcome is what LockFor told a call that waited.
type outcome struct {
	done bool
	err  error
}

// waitFor starts a call that has to wait for the lock, and returns when the call
// has announced itself.
func waitFor(t *testing.T, s *Store, verb string, a policy.Attachment) <-chan outcome {
	t.Helper()
	result := make(chan outcome, 1)
	go func() {
		unlock, done, err := s.LockFor(verb, a)
		if err == nil {
			unlock()
		}
		result <- outcome{done, err}
	}()
	content, err := encode(a)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if written, err := s.content(pendingName(verb, a)); err == nil && string(written) == string(content) {
			return result
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the call does not announce itself")
	return nil
}

func lockedStore(t *testing.T) (s *Store, unlock func()) {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	unlock, done, err := s.LockFor("ADD", attachment("first"))
	if err != nil || done {
		t.Fatal(done, err)
	}
	if names := files(t, s); !cmp.Equal(names, []string{lockName}) {
		t.Fatalf("a call that does not wait leaves %q", names)
	}
	return s, unlock
}

// TestPending has the holder of the lock do the work of one waiting call, and not
// that of two others.
func TestPending(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	one := attachment("one", "10.0.0.1", "fd00::1")
	added := waitFor(t, s, "ADD", one)
	ignored := waitFor(t, s, "ADD", attachment("two"))
	deleted := waitFor(t, s, "DEL", one)

	l := s.List()
	if len(l.Entries) > 0 || len(l.Problems) > 0 {
		t.Errorf("waiting calls are listed as entries %v or problems %v", l.Entries, l.Problems)
	}
	for _, c := range s.Pending(l, "ADD") {
		if c.Attachment.ContainerID == "two" {
			c.Ignore()
			continue
		}
		if diff := cmp.Diff(one, c.Attachment, comparePrefixes); diff != "" {
			t.Errorf("(-announced +read):\n%s", diff)
		}
		c.Done()
	}
	unlock()
	for name, c := range map[string]struct {
		result <-chan outcome
		want   outcome
	}{"done": {added, outcome{true, nil}}, "ignored": {ignored, outcome{}}, "of another verb": {deleted, outcome{}}} {
		if got := <-c.result; got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if names := files(t, s); !cmp.Equal(names, []string{lockName}) {
		t.Errorf("left behind: %q", names)
	}
}

// TestPendingDead has files of calls that died while they waited.
func TestPendingDead(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	defer unlock()
	for name, content := range map[string]string{
		pendingName("ADD", attachment("dead")): `{"version":1}`,
		pendingName("DEL", attachment("cut")):  "",
		pendingPrefix + "nonsense":             "\x00",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if calls := s.Pending(s.List(), "ADD"); len(calls) > 0 {
		t.Errorf("got calls %+v", calls)
	}
	if names := files(t, s); !cmp.Equal(names, []string{lockName}) {
		t.Errorf("left behind: %q", names)
	}
}

// TestPendingOdd has files that live processes have locked and that announce no
// call. They are left alone.
func TestPendingOdd(t *testing.T) {
	t.Parallel()
	whole, err := encode(attachment("one"))
	if err != nil {
		t.Fatal(err)
	}
	name := pendingName("ADD", attachment("one"))
	for what, c := range map[string]struct{ name, content string }{
		"half written":       {name, string(whole[:len(whole)/2])},
		"empty":              {name, ""},
		"under a wrong name": {pendingName("ADD", attachment("two")), string(whole)},
		"with a bad address": {name, strings.Replace(string(whole), `"ifName"`, `"addresses":["x"],"ifName"`, 1)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, unlock := lockedStore(t)
			defer unlock()
			path := filepath.Join(s.dir, c.name)
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if _, err := f.WriteString(c.content); err != nil {
				t.Fatal(err)
			}
			if err := flock(f); err != nil {
				t.Fatal(err)
			}
			if calls := s.Pending(s.List(), "ADD"); len(calls) > 0 {
				t.Errorf("got calls %+v", calls)
			}
			if left, err := os.ReadFile(path); err != nil || string(left) != c.content {
				t.Errorf("the file has become %q, %v", left, err)
			}
		})
	}
}

// TestPendingLost removes the file of a waiting call. The call does its own work.
func TestPendingLost(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	result := waitFor(t, s, "ADD", attachment("one"))
	if err := os.Remove(filepath.Join(s.dir, pendingName("ADD", attachment("one")))); err != nil {
		t.Fatal(err)
	}
	if calls := s.Pending(s.List(), "ADD"); len(calls) > 0 {
		t.Errorf("got calls %+v", calls)
	}
	unlock()
	if got := <-result; got != (outcome{}) {
		t.Errorf("got %+v", got)
	}
}

// TestPendingTwice has two calls wait for the same attachment. Only the first can
// announce itself.
func TestPendingTwice(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	one := waitFor(t, s, "ADD", attachment("one"))
	second := s.announce("ADD", attachment("one"))
	if second.file != nil || second.isDone() {
		t.Errorf("got %+v", second)
	}
	second.withdraw()
	if names := files(t, s); !slices.Contains(names, pendingName("ADD", attachment("one"))) {
		t.Errorf("the second call withdraws the first: %q", names)
	}
	unlock()
	if got := <-one; got != (outcome{}) {
		t.Errorf("got %+v", got)
	}
}
