// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLines has many writers, each with the file opened for itself, write lines at
// once, of which the longest is that of a restore of a thousand containers.
func TestLines(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	const writers, each = 16, 10
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			w, err := openLog(file, os.Stderr)
			if err != nil {
				t.Error(err)
				return
			}
			line := bytes.Repeat([]byte{byte('a' + i)}, 1+i*10_000)
			for range each {
				_, _ = w.Write(append(line, '\n'))
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if letter := line[0]; len(line) != 2+int(letter-'a')*10_000 || strings.Trim(line, string(letter)) != "\n" {
			t.Fatalf("line %d is of %d bytes: %.20s…", n, len(line), line)
		}
	}
	if n != writers*each {
		t.Errorf("%d lines, and not %d", n, writers*each)
	}
}

// TestLinesLost writes where there is no room, which is told of once, and is no
// error of the writer's.
func TestLinesLost(t *testing.T) {
	t.Parallel()
	fd, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var failures []error
	l := &lines{fd, func(err error) { failures = append(failures, err) }}
	for range 2 {
		if n, err := l.Write([]byte("a line\n")); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if len(failures) != 2 || !errors.Is(failures[0], unix.ENOSPC) {
		t.Errorf("got %v", failures)
	}
}

// TestOpenOwn refuses a file that belongs to somebody else.
func TestOpenOwn(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if _, err := openOwn("/etc/passwd"); err == nil {
			t.Error("opened a file of root's")
		}
		return
	}
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	fd, err := openOwn(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if err := os.Chown(file, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openOwn(file); !errors.Is(err, errNotOwn) {
		t.Errorf("got %v", err)
	}
}
