// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// legacyFamily is how the kernel serves the legacy variant in one family.
type legacyFamily struct {
	domain, level int
	names         string // file with the tables that are there
}

var legacyFamilies = map[policy.Family]legacyFamily{
	policy.IPv4: {unix.AF_INET, unix.SOL_IP, "/proc/thread-self/net/ip_tables_names"},
	policy.IPv6: {unix.AF_INET6, unix.SOL_IPV6, "/proc/thread-self/net/ip6_tables_names"},
}

// legacyHolds reports whether the legacy variant's filter table has one of some chains. A
// network namespace in which nobody used the legacy variant has no such table, and asking
// for its content would make one.
func legacyHolds(f policy.Family, chains []string) (bool, error) {
	family := legacyFamilies[f]
	names, err := os.ReadFile(family.names)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return false, nil // the kernel has no legacy variant, or not for the caller
	case err != nil:
		return false, err
	case !slices.Contains(strings.Fields(string(names)), "filter"):
		return false, nil
	}
	var entries []byte
	for range maxAttempts {
		if entries, err = family.entries(); !errors.Is(err, unix.EAGAIN) {
			break // else the table has changed between the two requests
		}
	}
	isIn := func(chain string) bool { return bytes.Contains(entries, append([]byte(chain), 0)) }
	return slices.ContainsFunc(chains, isIn), err
}

// Requests and structures of linux/netfilter_ipv4/ip_tables.h. Those of IPv6 are alike.
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES
	infoSize   = 84 // of struct ipt_getinfo
	sizeInInfo = 80 // offset of the entries' size
	sizeInGet  = 32 // likewise, of struct ipt_get_entries
)

// entries returns the rules of the filter table as the kernel has them.
func (l legacyFamily) entries() ([]byte, error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	info := aboutFilter(infoSize)
	if err := l.get(fd, getInfo, info); err != nil {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(info[sizeInInfo:])
	// The entries are aligned as the processor has it.
	for _, header := range []int{40, 36} {
		all := aboutFilter(header + int(size))
		binary.NativeEndian.PutUint32(all[sizeInGet:], size)
		if err = l.get(fd, getEntries, all); !errors.Is(err, unix.EINVAL) {
			return all, err
		}
	}
	return nil, err
}

// aboutFilter returns a structure that begins with the table's name.
func aboutFilter(size int) []byte {
	b := make([]byte, size)
	copy(b, "filter")
	return b
}

// get is getsockopt for a structure, which the kernel fills.
func (l legacyFamily) get(fd, name int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(l.level), uintptr(name),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return fmt.Errorf("reading the legacy filter table: %w", errno)
	}
	return nil
}
