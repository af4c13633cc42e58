// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
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

// Connect connects to the system bus. The error wraps ErrNotRunning where there
// is none.
func Connect() (*Conn, error) {
	const usual = "unix:path=/var/run/dbus/system_bus_socket" // as the D-Bus specification says
	address := usual
	if own := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); own != "" {
		address = own
	}
	bus, err := dial(address, callDeadline)
	if err != nil {
		return nil, fmt.Errorf("connecting to the system bus at %s: %w", address, err)
	}
	return newConn(bus), nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.bus.Close() }

// dial connects to a bus. The library's own wait for it has no end, and its way to
// read, which is for file descriptors too, panics where the bus resets the
// connection (godbus v5.2.4, transport_unix.go: a length of -1).
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
	// Root in a user namespace is somebody else to the bus, which then rejects it.
	err = authenticating(bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}))
	if err == nil {
		err = bus.Hello()
	}
	if inTime := late.Stop(); !inTime {
		err = fmt.Errorf("%w (%s)", ErrNoAnswer, deadline)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return bus, nil
}

// socketOf returns the socket of the first address in a list that is one, as the
// net package has it: abstract ones begin with an @.
func socketOf(addresses string) (string, error) {
	for address := range strings.SplitSeq(addresses, ";") {
		keys, isSocket := strings.CutPrefix(address, "unix:")
		for pair := range strings.SplitSeq(keys, ",") {
			key, value, _ := strings.Cut(pair, "=")
			path, err := url.PathUnescape(value)
			if !isSocket || err != nil || path == "" {
				continue
			}
			switch key {
			case "path":
				return path, nil
			case "abstract":
				return "@" + path, nil
			}
		}
	}
	return "", errors.New("it is no address of a socket: it must begin with unix:path= or unix:abstract=")
}

func dialling(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: there is no bus: %w", ErrNotRunning, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
	}
	return err
}

func authenticating(err error) error {
	var network net.Error
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &network) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
}
