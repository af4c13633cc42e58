// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Existing returns the indices of the interfaces that exist in this network
// namespace, by name. It takes one system call for each name.
func (Kernel) Existing(names []string) (map[string]int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a socket to ask for interfaces: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	found := map[string]int{}
	for _, name := range names {
		req, err := unix.NewIfreq(name)
		if err != nil {
			continue // too long: no interface has it
		}
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking for interface %q: %w", name, err)
		}
		found[name] = int(req.Uint32())
	}
	return found, nil
}

// Names returns the names of the interfaces of this network namespace that have the
// indices. It takes one system call for each.
func (Kernel) Names(indices []int) (map[int]string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a socket to ask for interfaces: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	names := map[int]string{}
	for _, index := range indices {
		req, err := unix.NewIfreq("")
		if err != nil {
			return nil, err
		}
		req.SetUint32(uint32(index))
		err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, req)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the interface with index %d: %w", index, err)
		}
		names[index] = req.Name()
	}
	return names, nil
}
