// SPDX-License-Identifier: Apache-2.0

// Package store keeps what the plugin must remember between calls: one record
// for each attachment, as a file.
//
// Each network namespace has a directory of its own, named after its cookie. One
// /run may serve several host namespaces (rootless runtimes, tests), and the
// kernel keeps rules per namespace.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Store is the directory of one network namespace.
type Store struct {
	dir string
}

// Open returns the store of the caller's network namespace below dataDir. It
// creates the directories that are missing. Both must be owned by the caller.
func Open(dataDir string) (*Store, error) {
	s, err := at(dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o755); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	for _, dir := range []string{dataDir, s.dir} {
		if err := createOwnDirectory(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Peek is Open for a call that only reads. It creates nothing; a store that does
// not exist is empty.
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

func createOwnDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("creating the data directory: %w", err)
	}
	return checkOwnDirectory(dir)
}

// checkOwnDirectory refuses a directory that others can write to: they could put
// records and locks in it.
func checkOwnDirectory(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, mode := info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm()
	switch {
	case !info.IsDir():
		return fmt.Errorf("data directory %s is not a directory", dir)
	case int(owner) != os.Geteuid():
		return fmt.Errorf("data directory %s belongs to user %d: it must belong to user %d", dir, owner, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("data directory %s has mode %#o and others can write to it: it must be 0700", dir, mode)
	}
	return nil
}

// Listing is what a store holds.
type Listing struct {
	Entries  []Entry
	Leaving  []int        // interface indices, see MarkLeaving
	Flagged  []int        // interface indices, see MarkFlagged
	Freed    []netip.Addr // see MarkFreed
	Problems []error      // files that are left alone, see FileError
	Unlisted error        // why not all files could be listed

	pending []string // files of waiting calls, see Pending
}

// List reads the names in the store. A store that does not exist is empty.
func (s *Store) List() Listing {
	var l Listing
	names, err := s.names()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Unlisted = fmt.Errorf("listing the records: %w", err)
	}
	l.Entries = make([]Entry, 0, len(names))
	for _, name := range names {
		s.addTo(&l, name)
	}
	return l
}

// names returns the names of the files. After an error it returns those that
// could be read.
func (s *Store) names() ([]string, error) {
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

// addTo adds one file to the part of the listing that its name says.
func (s *Store) addTo(l *Listing, name string) {
	if name == lockName || name == tempName {
		return
	}
	if strings.HasPrefix(name, pendingPrefix) {
		l.pending = append(l.pending, name)
		return
	}
	if l.addMark(name) {
		return
	}
	l.Entries = append(l.Entries, Entry{})
	if err := s.fill(&l.Entries[len(l.Entries)-1], name); err != nil {
		l.Entries = l.Entries[:len(l.Entries)-1]
		l.Problems = append(l.Problems, err)
	}
}

// fill parses a record's name. It reads the record only where the name lacks what did
// not fit.
func (s *Store) fill(e *Entry, name string) error {
	whole, err := e.parse(name)
	if err != nil {
		return s.fileError(name, err)
	}
	if whole && !e.lacksPort() {
		return nil
	}
	a, err := s.Read(*e)
	if err == nil {
		e.Attachment = brief(a)
	}
	if whole {
		return nil // the name says enough to isolate; whoever needs the record finds the error
	}
	return err
}
