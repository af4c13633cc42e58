// SPDX-License-Identifier: Apache-2.0

// Package store keeps what the plugin must remember between calls, in one
// directory for each network namespace of a host.
//
// One /run may serve several such namespaces (rootless runtimes, tests), and
// the kernel's rules are the namespace's, so the directory is named after its
// cookie.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cni-isolation/firewall/pkg/policy"
)

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
