// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// Container is a network namespace that traffic can be sent from and to.
type Container struct {
	Name       string
	NetNS      string // path
	IPv4, IPv6 string // its own addresses, if it has them
	PrevResult json.RawMessage

	ns      ns.NetNS
	host    *Host
	network *Network
	runtime *libcni.RuntimeConf
	awaited sync.Map // channels to close when a datagram arrives, by what it says
	sockets []io.Closer
}

// Verdict is what became of a probe.
type Verdict string

// The verdicts. Refused means that packets arrived and nobody listened, so it is
// never taken for blocked.
const (
	Open    Verdict = "open"
	Blocked Verdict = "blocked"
	Refused Verdict = "refused"
)

// Serve answers TCP connections to a port of the container with its name, and
// takes note of datagrams to it, until the process ends.
func (c *Container) Serve(port int) error {
	var listener net.Listener
	var datagrams net.PacketConn
	err := c.ns.Do(func(ns.NetNS) (err error) {
		if listener, err = net.Listen("tcp", ":"+strconv.Itoa(port)); err != nil {
			return err
		}
		datagrams, err = net.ListenPacket("udp", ":"+strconv.Itoa(port))
		return err
	})
	if err != nil {
		return fmt.Errorf("serving in %s: %w", c.Name, err)
	}
	// Where nobody reads for a while, no datagram may be lost.
	if err := largeBuffer(datagrams.(*net.UDPConn)); err != nil {
		return err
	}
	c.sockets = append(c.sockets, listener, datagrams)
	go c.hear(datagrams)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, c.Name)
			_ = conn.Close()
		}
	}()
	return nil
}

// largeBuffer gives a socket more room than net.core.rmem_max allows, or as much as that
// allows where an ordinary user made the host.
func largeBuffer(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	const size = 16 << 20
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
		if errors.Is(failed, unix.EPERM) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
	})
	return errors.Join(err, failed)
}

func (c *Container) hear(datagrams net.PacketConn) {
	buffer := make([]byte, 100)
	for {
		n, _, err := datagrams.ReadFrom(buffer)
		if err != nil {
			return
		}
		if arrived, found := c.awaited.LoadAndDelete(string(buffer[:n])); found {
			close(arrived.(chan struct{}))
		}
	}
}

// sent counts the datagrams, each of which says its number.
var sent atomic.Int64

// Send sends a datagram from the container to an address, and reports whether
// it arrives at another one, which must serve the port. Nothing has to come
// back, so that the verdict is about the one direction.
func (c *Container) Send(to *Container, address string, port int, patience time.Duration) (Verdict, error) {
	var conn net.Conn
	err := c.ns.Do(func(ns.NetNS) (err error) {
		conn, err = net.Dial("udp", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	number, arrived := strconv.FormatInt(sent.Add(1), 10), make(chan struct{})
	to.awaited.Store(number, arrived)
	_, err = io.WriteString(conn, number)
	if errors.Is(err, unix.EPERM) { // what the hook output drops is told to the sender
		to.awaited.Delete(number)
		return Blocked, nil
	}
	if err != nil {
		return "", err
	}
	select {
	case <-arrived:
		return Open, nil
	case <-naps.until(patience):
	}
	if _, missing := to.awaited.LoadAndDelete(number); !missing {
		return Open, nil // at the last moment
	}
	return Blocked, nil
}

// Connect opens a TCP connection from the container and reads who answers.
func (c *Container) Connect(address string, port int, patience time.Duration) (Verdict, string, error) {
	var conn net.Conn
	var dialer net.Dialer
	enough := withPatience(patience)
	err := c.ns.Do(func(ns.NetNS) (err error) {
		// To a literal address, so that it is dialled on this very thread.
		conn, err = dialer.DialContext(enough, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return refusal(err)
	}
	defer func() { _ = conn.Close() }()
	// The read ends with an error of its own, that of a deadline in the past.
	defer context.AfterFunc(enough, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	name, err := io.ReadAll(conn)
	if err != nil {
		return refusal(err)
	}
	return Open, string(name), nil
}

func refusal(err error) (Verdict, string, error) {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, "", nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return Blocked, "", nil
	case errors.Is(err, syscall.EHOSTUNREACH): // neighbour discovery, which "isolated" drops too for IPv6, gave up
		return Blocked, "", nil
	case errors.Is(err, syscall.EACCES): // ICMPv6 "administratively prohibited", with which firewalld rejects
		return Blocked, "", nil
	}
	return "", "", err
}

// Ping sends one echo request from the container.
func (c *Container) Ping(address string, patience time.Duration) (Verdict, error) {
	family := "-4"
	if strings.Contains(address, ":") {
		family = "-6"
	}
	var output []byte
	err := c.ns.Do(func(ns.NetNS) (err error) {
		// A process inherits the namespace of the thread that starts it.
		output, err = exec.Command("ping", family, "-n", "-c1", "-W"+strconv.Itoa(int(patience.Seconds())), address).CombinedOutput()
		return err
	})
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Open, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1: // sent, and no answer
		return Blocked, nil
	}
	return "", fmt.Errorf("ping from %s to %s: %w: %s", c.Name, address, err, output)
}
