// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// tempName is the file that write renames. One that is left was being written
// when its process died.
const tempName = ".tmp"

// maxFile bounds what is read of one file, in bytes.
const maxFile = 1 << 20

// inJournal is what the journal calls the store.
const inJournal = "records"

// FileError says why a file in the store is left alone.
type FileError struct {
	File string // its path
	err  error
}

// Error returns the path, and what is wrong with the file.
func (e *FileError) Error() string { return fmt.Sprintf("leaving %s alone: %v", e.File, e.err) }

// Unwrap returns what is wrong with the file: ErrNewer, for example.
func (e *FileError) Unwrap() error { return e.err }

func (s *Store) fileError(name string, err error) error { return &FileError{s.path(name), err} }

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// content returns the bytes of a file.
func (s *Store) content(name string) ([]byte, error) {
	f, err := s.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) { return io.ReadAll(io.LimitReader(f, maxFile)) }

// open opens a file that the caller owns. It neither follows a symbolic link nor
// waits for the writer of a pipe.
func (s *Store) open(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := checkOwnFile(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func checkOwnFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d: it must belong to user %d", owner, os.Geteuid())
	}
	return nil
}

// write replaces a file atomically. Whenever the process or the host dies, the
// file has its old content or the new one. The caller holds the lock, so that
// only one call uses tempName.
func (s *Store) write(name string, content []byte) (err error) {
	began := time.Now()
	defer func() { journal.Tell(inJournal, began, journal.Added(name), err) }()
	if err := s.remove(tempName); err != nil {
		return err
	}
	err = writeSynced(s.path(tempName), content)
	if err == nil {
		err = os.Rename(s.path(tempName), s.path(name))
	}
	if err != nil {
		return errors.Join(err, s.remove(tempName))
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// remove deletes a file. One that does not exist is no error.
func (s *Store) remove(name string) error {
	began := time.Now()
	err := os.Remove(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if name != tempName {
		journal.Tell(inJournal, began, journal.Removed(name), err)
	}
	if err != nil {
		return fmt.Errorf("removing a record: %w", err)
	}
	return nil
}
