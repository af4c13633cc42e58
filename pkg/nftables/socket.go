// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long an answer of the kernel's is waited for. It holds the
// lock of nf_tables while another program's transaction is under way.
const patience = 10 * time.Second

// socket is the boundary to the kernel.
type socket interface {
	send([]byte) error
	receive(buffer []byte) (int, error)
}

// netlink is a socket to nf_tables, of the network namespace in which the
// process is.
type netlink int

func open() (netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	deadline := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &deadline),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &deadline),
		// So that an error does not bring back the whole message that it is about.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	return netlink(fd), err
}

// send makes room for the message where it is larger than what a socket may
// send at once by default: that of a restore of a thousand containers is.
func (n netlink) send(b []byte) error {
	const usual = 64 << 10 // well below net.core.wmem_default
	if len(b) > usual {
		size := 2 * len(b)
		if unix.SetsockoptInt(int(n), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) != nil {
			_ = unix.SetsockoptInt(int(n), unix.SOL_SOCKET, unix.SO_SNDBUF, size)
		}
	}
	return unix.Sendto(int(n), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (n netlink) receive(buffer []byte) (int, error) {
	for {
		length, flags, err := recv(int(n), buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, fmt.Errorf("no answer within %s: %w", patience, os.ErrDeadlineExceeded)
		case err == nil && flags&unix.MSG_TRUNC != 0:
			return 0, errMalformed
		}
		return length, err
	}
}

func recv(fd int, buffer []byte) (length, flags int, err error) {
	length, _, flags, _, err = unix.Recvmsg(fd, buffer, nil, 0)
	return length, flags, err
}
