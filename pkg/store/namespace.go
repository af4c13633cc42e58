// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaceName returns a name for the caller's network namespace: its cookie,
// which no other namespace gets until the host reboots. Linux before 5.14 has no
// cookies (ENOPROTOOPT); there the name is the inode number.
func namespaceName() (string, error) {
	cookie, err := namespaceCookie()
	if errors.Is(err, unix.ENOPROTOOPT) {
		return namespaceInode()
	}
	if err != nil {
		return "", fmt.Errorf("reading the cookie of the network namespace: %w", err)
	}
	return strconv.FormatUint(cookie, 10), nil
}

func namespaceCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

func namespaceInode() (string, error) {
	info, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("reading the inode number of the network namespace: %w", err)
	}
	return "ino-" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10), nil
}
