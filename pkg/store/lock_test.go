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

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	var inside atomic.Int32 // the race detector does not know flock
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

// TestTryLock tries while another call holds the lock. What is tried in vain holds nothing
// later.
func TestTryLock(t *testing.T) {
	t.Parallel()
	s := open(t)
	unlock, err := s.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryLock(); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), filepath.Join(s.dir, "lock")) {
		t.Errorf("got error %v, want ErrLocked with the lock's path", err)
	}
	unlock()
	for range 2 {
		if unlock, err = s.Lock(); err != nil {
			t.Fatal(err)
		}
		unlock()
	}
}

// TestLockIsInherited starts a program and unlocks, as the kernel does when a call
// is killed. The program holds the lock until it has ended.
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
		t.Errorf("after the program has ended: %v", err)
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
