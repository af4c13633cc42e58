// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

const (
	lockName = "lock"
	tempName = ".tmp" // a record that is being written, or was when its writer died
)

// maxRecord bounds what is read of one file, in bytes.
const maxRecord = 1 << 20

// Listing is what a store holds.
type Listing struct {
	Entries  []Entry
	Leaving  []int   // interface indices, see MarkLeaving
	Problems []error // files that are no records, and are left alone

	waiting []string // names of requests
}

// List reads the names in the store. A store that does not exist is empty.
func (s *Store) List() Listing {
	var l Listing
	dir, err := os.Open(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	if err != nil {
		l.Problems = append(l.Problems, fmt.Errorf("listing the records: %w", err))
		return l
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		l.Problems = append(l.Problems, fmt.Errorf("listing the records: %w", err))
	}
	l.Entries = make([]Entry, 0, len(names))
	for _, name := range names {
		s.sort(&l, name)
	}
	return l
}

// sort puts one file where it belongs in the listing.
func (s *Store) sort(l *Listing, name string) {
	if name == lockName || name == tempName {
		return
	}
	if strings.HasPrefix(name, requestPrefix) {
		l.waiting = append(l.waiting, name)
		return
	}
	if index, ok := parseLeaving(name); ok {
		l.Leaving = append(l.Leaving, index)
		return
	}
	l.Entries = append(l.Entries, Entry{})
	if err := s.entry(&l.Entries[len(l.Entries)-1], name); err != nil {
		l.Entries = l.Entries[:len(l.Entries)-1]
		l.Problems = append(l.Problems, err)
	}
}

func (s *Store) entry(e *Entry, name string) error {
	whole, err := e.parse(name)
	if err != nil {
		return s.problem(name, err)
	}
	if !whole {
		var a policy.Attachment
		a, err = s.Read(*e)
		e.Attachment.Addresses = a.Addresses
	}
	return err
}

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

// Read returns the whole of a record. Its error names the file.
func (s *Store) Read(e Entry) (policy.Attachment, error) {
	content, err := s.content(e.file)
	if err != nil {
		return policy.Attachment{}, s.problem(e.file, err)
	}
	a, err := decode(content)
	if err == nil && NewEntry(a).file != e.file {
		err = errors.New("its content does not fit its name")
	}
	if err != nil {
		return policy.Attachment{}, s.problem(e.file, err)
	}
	return a, nil
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

// Put writes the record of an attachment in the place of its former entries. On
// a record that is there already nothing is written.
func (s *Store) Put(a policy.Attachment, former []Entry) error {
	content, err := encode(a)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	e := NewEntry(a)
	if old, err := s.content(e.file); err != nil || !bytes.Equal(old, content) {
		if err := s.write(e.file, content); err != nil {
			return fmt.Errorf("writing a record: %w", err)
		}
	}
	for _, f := range former {
		if f.file != e.file {
			if err := s.remove(f.file); err != nil {
				return err
			}
		}
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

// Remove deletes a record. That it is not there is no error.
func (s *Store) Remove(e Entry) error { return s.remove(e.file) }

// place is what the journal calls the store.
const place = "records"

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
