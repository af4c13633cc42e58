// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "run", "cni", "firewall"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenModes(t *testing.T) {
	t.Parallel()
	s := open(t)
	for dir, want := range map[string]os.FileMode{
		s.dir:                             0o700,
		filepath.Dir(s.dir):               0o700,
		filepath.Dir(filepath.Dir(s.dir)): 0o755, // /run/cni is not the plugin's alone
	} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %#o, want %#o", dir, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(dir string) error
		want string
	}{
		"a file":            {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is no directory"},
		"a link":            {func(dir string) error { return os.Symlink("/tmp", dir) }, "is no directory"},
		"one for everybody": {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "can be written by others"},
		"a parent that fails": {func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(dir)), os.WriteFile(filepath.Dir(dir), nil, 0o600))
		}, "not a directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "parent", "firewall")
			if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	var inside atomic.Int32 // flock means nothing to the race detector
	for range 20 {
		wg.Go(func() {
			unlock, err := s.Lock()
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d hold the lock", n)
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
		})
	}
	wg.Wait()
}

func TestLockGivesUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	_, err = s.lock(20*time.Millisecond, func() {})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), filepath.Join(s.dir, "lock")) {
		t.Errorf("got error %v, want ErrLocked with the lock's path", err)
	}
}

// TestLockIsInherited starts a program, as a call does that is then killed: the
// lock is held until the program has ended.
func TestLockIsInherited(t *testing.T) {
	t.Parallel()
	s := open(t)
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command("sleep", "0.3")
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	unlock()
	f, err := os.Open(filepath.Join(s.dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("got error %v while the program runs, want EWOULDBLOCK", err)
	}
	if err := program.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the program has ended: %v", err)
	}
}

func TestLockIsNoLink(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(s.dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(); err == nil {
		t.Error("a link was followed")
	}
}
