// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

const lockName = "lock"

// LockTimeout bounds the wait for the other calls of a namespace.
const LockTimeout = 60 * time.Second

// ErrLocked says that other calls held the lock throughout the wait.
var ErrLocked = errors.New("other calls hold the lock")

// Lock waits until no other call works on the rules of the namespace. After
// LockTimeout it gives up, and the error wraps ErrLocked. The kernel releases the
// lock when the process and the programs that it started have ended, however they
// end.
func (s *Store) Lock() (unlock func(), err error) { return s.lock(LockTimeout, func() {}) }

// TryLock is Lock for a process that lives on, and must not wait: see await. While
// another call works, the error wraps ErrLocked.
func (s *Store) TryLock() (unlock func(), err error) {
	f, err := s.openLock()
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// LockFor is Lock for a call that does something for an attachment. done says that
// another call did it meanwhile, see Pending.
func (s *Store) LockFor(verb string, a policy.Attachment) (unlock func(), done bool, err error) {
	var call PendingCall
	unlock, err = s.lock(LockTimeout, func() { call = s.announce(verb, a) })
	done = err == nil && call.isDone()
	call.withdraw()
	return unlock, done, err
}

// lock calls beforeWait if it has to wait.
func (s *Store) lock(timeout time.Duration, beforeWait func()) (unlock func(), err error) {
	f, err := s.openLock()
	if err != nil {
		return nil, err
	}
	path := f.Name()
	if err := acquire(f, timeout, beforeWait); errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("waiting %s for %s: %w", timeout, path, err) // await still uses f
	} else if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := inherit(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("letting programs inherit %s: %w", path, err)
	}
	// The call that held the lock may have died while it wrote. A disk that became
	// read-only keeps its file.
	_ = s.remove(tempName)
	return func() { _ = f.Close() }, nil
}

// openLock opens the lock read-only, so that it opens on a disk that became read-only.
func (s *Store) openLock() (*os.File, error) {
	f, err := os.OpenFile(s.path(lockName), os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	return f, nil
}

func acquire(f *os.File, timeout time.Duration, beforeWait func()) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	beforeWait()
	return await(f, timeout)
}

// inherit keeps the lock open in the programs that the call starts. If the call is
// killed, the next one waits until they have written what they were about to.
func inherit(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	return err
}

// await waits for the lock of a file. flock has no timeout: after a wait that was
// given up, its goroutine waits on until the process ends.
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
