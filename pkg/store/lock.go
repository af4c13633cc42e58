// SPDX-License-Identifier: Apache-2.0

// Package store keeps what the plugin must remember between calls, in one
// directory for each network namespace of a host.
//
// One /run may serve several such namespaces (rootless runtimes, tests), and
// the kernel's rules are the namespace's, so the directory is named after its
// cookie.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// LockTimeout bounds the wait for the other calls of a namespace.
const LockTimeout = 60 * time.Second

// ErrLocked says that other calls held the lock for all of the wait.
var ErrLocked = errors.New("other calls hold the lock")

// Store is the directory of one network namespace.
type Store struct {
	dir string
}

// Open returns the store of the caller's network namespace below dataDir, and
// makes its directories. Both must be the caller's own.
func Open(dataDir string) (*Store, error) {
	s, err := at(dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o755); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	for _, dir := range []string{dataDir, s.dir} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
		if err := checkOwnDirectory(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Peek returns the store as Open does, for a call that only reads: nothing is
// made, and a store that is not there is an empty one.
func Peek(dataDir string) (*Store, error) {
	s, err := at(dataDir)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{dataDir, s.dir} {
		if err := checkOwnDirectory(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return s, nil
}

func at(dataDir string) (*Store, error) {
	namespace, err := namespaceName()
	return &Store{filepath.Join(dataDir, namespace)}, err
}

// checkOwnDirectory refuses a directory that others can write to: they could put
// records and locks in it.
func checkOwnDirectory(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.IsDir():
		return fmt.Errorf("data directory %s is no directory", dir)
	case int(owner) != os.Geteuid():
		return fmt.Errorf("data directory %s belongs to user %d, not to the caller, %d", dir, owner, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("data directory %s can be written by others: its mode is %#o, and must be 0700", dir, info.Mode().Perm())
	}
	return nil
}

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

// namespaceName returns a name that no other network namespace has had since
// the host started: the cookie, or before Linux 5.14 the inode number.
func namespaceName() (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("opening a socket to ask for the network namespace's cookie: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err == nil {
		return strconv.FormatUint(cookie, 10), nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return "", fmt.Errorf("asking for the network namespace's cookie: %w", err)
	}
	info, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("asking for the network namespace's inode number: %w", err)
	}
	return "ino-" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10), nil
}
