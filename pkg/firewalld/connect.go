// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Connect connects to the system bus. Where there is no bus, the error wraps
// ErrNotRunning.
func Connect() (*Conn, error) {
	const usual = "unix:path=/var/run/dbus/system_bus_socket" // of the D-Bus specification
	address := cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), usual)
	bus, err := dial(address, callDeadline)
	if err != nil {
		return nil, fmt.Errorf("connecting to the system bus at %s: %w", address, err)
	}
	return newConn(bus), nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.bus.Close() }

// dial connects to a bus within a deadline. It makes the socket itself: the library's
// own dial waits without end, and its transport, which passes file descriptors,
// panics where the bus resets the connection (godbus v5.2.4, transport_unix.go: a
// length of -1).
func dial(address string, deadline time.Duration) (*dbus.Conn, error) {
	path, err := socketOf(address)
	if err != nil {
		return nil, err
	}
	socket, err := net.DialTimeout("unix", path, deadline)
	if err != nil {
		return nil, dialling(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	late := time.AfterFunc(deadline, cancel)
	bus, err := dbus.NewConn(socket, dbus.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	err = greet(bus)
	if inTime := late.Stop(); !inTime {
		err = fmt.Errorf("%w (%s)", ErrNoAnswer, deadline)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return bus, nil
}

// greet authenticates the caller and says hello. The bus rejects root of a user
// namespace, whose credentials are those of another user.
func greet(bus *dbus.Conn) error {
	methods := []dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}
	if err := authenticating(bus.Auth(methods)); err != nil {
		return err
	}
	return bus.Hello()
}

// socketOf returns the first socket in a list of addresses, in the form of package
// net: an abstract socket begins with "@".
func socketOf(addresses string) (string, error) {
	for address := range strings.SplitSeq(addresses, ";") {
		keys, isSocket := strings.CutPrefix(address, "unix:")
		if !isSocket {
			continue
		}
		for pair := range strings.SplitSeq(keys, ",") {
			if path := pathOf(pair); path != "" {
				return path, nil
			}
		}
	}
	return "", errors.New("not the address of a socket: it must begin with unix:path= or unix:abstract=")
}

// pathOf returns the path in a key and value of an address, or nothing.
func pathOf(pair string) string {
	key, value, _ := strings.Cut(pair, "=")
	path, err := url.PathUnescape(value)
	switch {
	case err != nil || path == "":
		return ""
	case key == "path":
		return path
	case key == "abstract":
		return "@" + path
	}
	return ""
}

// dialling adds what an error of dial means.
func dialling(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: there is no bus: %w", ErrNotRunning, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
	}
	return err
}

// authenticating tells a refusal of the bus from a lost connection.
func authenticating(err error) error {
	var network net.Error
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &network) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
}
