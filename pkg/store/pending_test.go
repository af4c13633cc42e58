// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// outcome is what came of a call that waited for the lock.
type outcome struct {
	done bool
	err  error
}

// waitFor has a call wait for the lock, and returns when it has said what for.
func waitFor(t *testing.T, s *Store, verb string, a policy.Attachment) <-chan outcome {
	t.Helper()
	came := make(chan outcome, 1)
	go func() {
		unlock, done, err := s.LockFor(verb, a)
		if err == nil {
			unlock()
		}
		came <- outcome{done, err}
	}()
	content, err := encode(a)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if written, err := s.content(requestName(verb, a)); err == nil && string(written) == string(content) {
			return came
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not say what it waits for")
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
		t.Fatalf("a call that need not wait leaves %q", names)
	}
	return s, unlock
}

// TestRequest has one call do what another waits for, and not what a third does.
func TestRequest(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	one := attachment("one", "10.0.0.1", "fd00::1")
	added := waitFor(t, s, "ADD", one)
	ignored := waitFor(t, s, "ADD", attachment("two"))
	deleted := waitFor(t, s, "DEL", one)

	l := s.List()
	if len(l.Entries) > 0 || len(l.Problems) > 0 {
		t.Errorf("requests pass for %v, %v", l.Entries, l.Problems)
	}
	for _, r := range s.Requests(l, "ADD") {
		if r.Attachment.ContainerID == "two" {
			r.Ignore()
			continue
		}
		if diff := cmp.Diff(one, r.Attachment, comparePrefixes); diff != "" {
			t.Errorf("what is waited for (-asked +seen):\n%s", diff)
		}
		r.Done()
	}
	unlock()
	for name, c := range map[string]struct {
		came <-chan outcome
		want outcome
	}{"done": {added, outcome{true, nil}}, "ignored": {ignored, outcome{}}, "of another verb": {deleted, outcome{}}} {
		if got := <-c.came; got != c.want {
			t.Errorf("%s: %+v, and not %+v", name, got, c.want)
		}
	}
	if names := files(t, s); !cmp.Equal(names, []string{lockName}) {
		t.Errorf("left behind: %q", names)
	}
}

// TestRequestOfTheDead is of a call that died while it waited.
func TestRequestOfTheDead(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	defer unlock()
	for name, kept := range map[string]string{
		requestName("ADD", attachment("dead")): `{"version":1}`,
		requestName("DEL", attachment("cut")):  "",
		requestPrefix + "nonsense":             "\x00",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if alive := s.Requests(s.List(), "ADD"); len(alive) > 0 {
		t.Errorf("alive: %+v", alive)
	}
	if names := files(t, s); !cmp.Equal(names, []string{lockName}) {
		t.Errorf("left behind: %q", names)
	}
}

// TestRequestOdd is of files that live processes hold, and that are no requests:
// they are left alone.
func TestRequestOdd(t *testing.T) {
	t.Parallel()
	whole, err := encode(attachment("one"))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ name, content string }{
		"half written":       {requestName("ADD", attachment("one")), string(whole[:len(whole)/2])},
		"empty":              {requestName("ADD", attachment("one")), ""},
		"of another's name":  {requestName("ADD", attachment("two")), string(whole)},
		"with a bad address": {requestName("ADD", attachment("one")), strings.Replace(string(whole), `"ifName"`, `"addresses":["x"],"ifName"`, 1)},
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
			if alive := s.Requests(s.List(), "ADD"); len(alive) > 0 {
				t.Errorf("alive: %+v", alive)
			}
			if left, err := os.ReadFile(path); err != nil || string(left) != c.content {
				t.Errorf("it has become %q, %v", left, err)
			}
		})
	}
}

// TestRequestLost has the file of a call that waits vanish: it does its work itself.
func TestRequestLost(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	came := waitFor(t, s, "ADD", attachment("one"))
	if err := os.Remove(filepath.Join(s.dir, requestName("ADD", attachment("one")))); err != nil {
		t.Fatal(err)
	}
	if alive := s.Requests(s.List(), "ADD"); len(alive) > 0 {
		t.Errorf("alive: %+v", alive)
	}
	unlock()
	if got := <-came; got != (outcome{}) {
		t.Errorf("got %+v", got)
	}
}

// TestRequestTwice has two calls wait for the same: one can say so.
func TestRequestTwice(t *testing.T) {
	t.Parallel()
	s, unlock := lockedStore(t)
	one := waitFor(t, s, "ADD", attachment("one"))
	if w := s.ask("ADD", attachment("one")); w.isDone() || w != nil {
		t.Errorf("got %+v", w)
	}
	unlock()
	if got := <-one; got != (outcome{}) {
		t.Errorf("got %+v", got)
	}
}
