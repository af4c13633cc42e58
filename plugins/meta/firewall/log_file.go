// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// logToStderr is the place of the log that is no file.
const logToStderr = "stderr"

// openLog opens the log. Its error names the variable, and what it may be.
func openLog(to string, stderr io.Writer) (io.Writer, error) {
	if to == logToStderr {
		return &lines{fd: int(os.Stderr.Fd()), failed: func(error) {}}, nil
	}
	fd, err := -1, errNotAbsolute
	if filepath.IsAbs(to) {
		fd, err = openOwn(to)
	}
	if err != nil {
		return nil, fmt.Errorf("going on without a log: %s %q: %w", logVariable, to, err)
	}
	var once sync.Once
	return &lines{fd, func(err error) {
		once.Do(func() { warn(stderr, fmt.Errorf("writing to %s %q: %w", logVariable, to, err)) })
	}}, nil
}

// Errors of the value, and of the file.
var (
	errNotAbsolute = errors.New("it must be an absolute path, or " + logToStderr)
	errNotOwn      = errors.New("it must be a plain file of the caller's own, with no other name")
	errLink        = errors.New("a symbolic link is in it, and none is followed: it must be the path that this leads to")
)

// openOwn opens a file to append to, or makes it. The plugin is root, and the
// directory may be one that others write to: none must be able to have it write to
// a file of their choice, or wait for them. So no symbolic link is followed, not in
// a directory's place either (openat2, of Linux 5.6), nor a hard link; and a pipe
// without a reader is not waited for.
func openOwn(path string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Mode:    0o600,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ELOOP) {
		return -1, errLink
	}
	if err != nil {
		return -1, err
	}
	var s unix.Stat_t
	err = unix.Fstat(fd, &s)
	if err == nil && (s.Mode&unix.S_IFMT != unix.S_IFREG || int(s.Uid) != os.Geteuid() || s.Nlink != 1) {
		err = errNotOwn
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// lines writes each line by one system call: of several processes that append, the
// kernel does one after the other. It is not written by os.File, which would write
// the rest of a line behind what another process wrote meanwhile, and which ends
// the process where the reader of its standard error has gone.
type lines struct {
	fd     int
	failed func(error)
}

// Write never fails: what cannot be written is lost.
func (l *lines) Write(line []byte) (int, error) {
	n, err := unix.Write(l.fd, line)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Write(l.fd, line)
	}
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		l.failed(err)
	}
	return len(line), nil
}
