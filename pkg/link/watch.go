// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Watch calls changed whenever an interface of this network namespace comes, goes, or
// changes, until the context is done. Before the first call it calls ready.
//
// The kernel drops messages if they are not read fast enough (ENOBUFS); that is a
// change, too.
func Watch(ctx context.Context, ready, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening a socket to watch interfaces: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	links := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}
	if err := unix.Bind(fd, links); err != nil {
		return fmt.Errorf("watching interfaces: %w", err)
	}
	// The timeout is how soon the end of the context is seen.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		return fmt.Errorf("watching interfaces: %w", err)
	}
	ready()
	buffer := make([]byte, 1<<16)
	for ctx.Err() == nil {
		_, _, err := unix.Recvfrom(fd, buffer, 0)
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS):
			changed()
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		default:
			return fmt.Errorf("watching interfaces: %w", err)
		}
	}
	return nil
}
