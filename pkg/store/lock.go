// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

const lockName = "lock"

// LockTimeout bounds the wait for the other calls of a namespace.
const LockTimeout = 60 * time.Second

// ErrLocked says that other calls held the lock for all of the wait.
var ErrLocked = errors.New("other calls hold the lock")

// Lock waits until no other call of the namespace works on its rules, at most
// LockTimeout; then the error wraps ErrLocked. The kernel frees the lock when
// the process and the programs that it started have ended, however they end.
func (s *Store) Lock() (unlock func(), err error) { return s.lock(LockTimeout, func() {}) }

// LockFor is Lock for a call that does something for an attachment. done says that
// another call did it meanwhile, see Request.
func (s *Store) LockFor(verb string, a policy.Attachment) (unlock func(), done bool, err error) {
	var w *wish
	unlock, err = s.lock(LockTimeout, func() { w = s.ask(verb, a) })
	done = err == nil && w.isDone()
	w.withdraw()
	return unlock, done, err
}

// lock calls waiting if it has to wait.
func (s *Store) lock(timeout time.Duration, waiting func()) (func(), error) {
	path := filepath.Join(s.dir, lockName)
	// Only to read, so that it opens on a disk that has become read-only.
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		waiting()
		err = await(f, timeout)
	}
	if errors.Is(err, ErrLocked) { // f is still being waited for
		return nil, fmt.Errorf("waiting %s for %s: %w", timeout, path, err)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// The programs that the call starts inherit the lock: should the call be
	// killed, what they are about to write comes before the next one reads.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("letting programs inherit %s: %w", path, err)
	}
	// What a call left that died while it wrote; a disk that has become read-only
	// keeps it.
	_ = s.remove(tempName)
	return func() { _ = f.Close() }, nil
}

// await waits for the lock of a file. flock has no deadline of its own: a wait that
// is given up goes on in its goroutine, which the end of the process ends.
func await(f *os.File, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	locked := make(chan error, 1)
	go func() { locked <- flock(f) }()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		return ErrLocked
	}
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
