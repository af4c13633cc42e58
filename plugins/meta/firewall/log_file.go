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

// logToStderr is the value that stands for standard error.
const logToStderr = "stderr"

// openLog opens the log. Its error names the variable and its accepted values.
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

// openOwn opens a file for appending, or creates it. The plugin is root, and others may
// be able to write to the directory. They must not make the plugin write to a file of
// their choice, or wait for them. So it follows no symbolic link, not even in place of
// a directory (openat2, Linux 5.6), accepts no hard link, and does not wait for the
// reader of a pipe.
func openOwn(path string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW |
			unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
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

// lines writes each line with one system call: the kernel serializes the appends of
// several processes. os.File does not serve. It would write the rest of a line behind
// what another process wrote meanwhile, and it ends the process if the reader of its
// standard error has gone.
type lines struct {
	fd     int
	failed func(error)
}

// Write never fails. What cannot be written is lost.
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
