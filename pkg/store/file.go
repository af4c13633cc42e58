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

const tempName = ".tmp" // a record that is being written, or was when its writer died

// maxRecord bounds what is read of one file, in bytes.
const maxRecord = 1 << 20

// place is what the journal calls the store.
const place = "records"

// FileError says why a file among the records is left alone.
type FileError struct {
	File string // its path
	err  error
}

// Error returns the path, and what is wrong with the file.
func (e *FileError) Error() string { return fmt.Sprintf("leaving %s alone: %v", e.File, e.err) }

// Unwrap returns ErrNewer, or what else is wrong.
func (e *FileError) Unwrap() error { return e.err }

func (s *Store) problem(name string, err error) error {
	return &FileError{filepath.Join(s.dir, name), err}
}

// content returns the bytes of a file.
func (s *Store) content(name string) ([]byte, error) {
	f, err := s.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) { return io.ReadAll(io.LimitReader(f, maxRecord)) }

// open opens a file, which must be the caller's own.
func (s *Store) open(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, name), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
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
		return errors.New("it is no regular file")
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d", owner)
	}
	return nil
}

// write makes a file appear at once and whole, whenever the process or the host
// dies. The lock sees to it that one call writes at a time.
func (s *Store) write(name string, content []byte) (err error) {
	began := time.Now()
	defer func() { journal.Tell(place, began, journal.Added(name), err) }()
	temp := filepath.Join(s.dir, tempName)
	if err := s.remove(tempName); err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, filepath.Join(s.dir, name))
	}
	if err != nil {
		return errors.Join(err, s.remove(tempName))
	}
	return nil
}

func (s *Store) remove(name string) error {
	began := time.Now()
	err := os.Remove(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if name != tempName {
		journal.Tell(place, began, journal.Removed(name), err)
	}
	if err != nil {
		return fmt.Errorf("removing a record: %w", err)
	}
	return nil
}
