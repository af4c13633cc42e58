// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxHostFile bounds the host's configuration, in bytes.
const maxHostFile = 64 << 10

// ReadHost reads the host's configuration, and reports whether there is one. Whoever can
// write to it, or put another file in its place, can open what is closed. So the file, and
// its directory, must belong to root or to the caller, and nobody else may write to them.
//
// An error is a *HostError, and then the Host says nothing.
func ReadHost(path string) (h Host, found bool, err error) {
	content, found, err := readTrusted(path)
	if err == nil && found {
		h, err = parseHost(content)
	}
	if err != nil {
		return Host{}, found, &HostError{path, err}
	}
	return h, found, nil
}

// ReadDraft reads a file that is yet to become the host's configuration, whoever it
// belongs to. An error is a *HostError.
func ReadDraft(path string) (Host, error) {
	var content []byte
	var h Host
	f, _, err := openHostFile(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		content, err = readBounded(f)
	}
	if err == nil {
		h, err = parseHost(content)
	}
	if err != nil {
		return Host{}, &HostError{path, err}
	}
	return h, nil
}

func readTrusted(path string) (content []byte, found bool, err error) {
	f, info, err := openHostFile(path)
	if isAbsent(path, err) || isNotForCaller(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	defer func() { _ = f.Close() }()
	if err := checkPlaces(path, info); err != nil {
		return nil, true, err
	}
	content, err = readBounded(f)
	return content, true, err
}

// openHostFile never waits for the writer of a pipe.
func openHostFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, cause(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func readBounded(f *os.File) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(f, maxHostFile+1))
	if err == nil && len(content) > maxHostFile {
		err = fmt.Errorf("it is larger than %d bytes", maxHostFile)
	}
	return content, err
}

// isAbsent reports whether nothing is at a path. A symbolic link that leads nowhere is
// something: what it should lead to may be stricter than what conflists say.
func isAbsent(path string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	for _, p := range []string{filepath.Dir(path), path} {
		if _, err := os.Lstat(p); err != nil {
			return errors.Is(err, fs.ErrNotExist)
		}
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	return true // it was put there just now
}

// isNotForCaller reports whether the file is root's, and not for the engine of a user: in
// a user namespace, root is nobody, and what root keeps to itself is about root's networks.
func isNotForCaller(err error) bool {
	return errors.Is(err, fs.ErrPermission) && inUserNamespace()
}

// checkPlaces checks the file, its directory, and the directory that symbolic links lead
// to: NixOS has links below /etc, and RootlessKit has nothing else there.
func checkPlaces(path string, info fs.FileInfo) error {
	if err := checkPlace("it", info, 0o644); err != nil {
		return err
	}
	real, err := withoutLink(path)
	if err != nil {
		return err
	}
	for _, dir := range slices.Compact([]string{filepath.Dir(path), filepath.Dir(real)}) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := checkPlace("its directory "+dir, info, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// withoutLink returns where a path leads that is a symbolic link.
func withoutLink(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, err
	}
	return filepath.EvalSymlinks(path)
}

// checkPlace returns an error where others can change something.
func checkPlace(name string, info fs.FileInfo, usual fs.FileMode) error {
	owner, mode := int(info.Sys().(*syscall.Stat_t).Uid), info.Mode().Perm()
	switch {
	case !isTrusted(owner):
		return fmt.Errorf("%s belongs to user %d: it must belong to user %d", name, owner, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("%s has mode %#o and others can write to it: it must be %#o", name, mode, usual)
	}
	return nil
}

// overflowUID stands for users that a user namespace does not have: the sysctl
// kernel.overflowuid, at what the kernel starts with.
const overflowUID = 65534

// isTrusted reports whether a file's owner may speak for the host: root, and the caller.
func isTrusted(owner int) bool {
	return owner == 0 || owner == os.Geteuid() || owner == overflowUID && inUserNamespace()
}

// inUserNamespace reports whether the caller is in one that lacks users of the host, such
// as root.
func inUserNamespace() bool {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(mapping)), []string{"0", "0", "4294967295"})
}

// cause returns an error without the path, which stands in the message already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
