// SPDX-License-Identifier: Apache-2.0

// Package firewalld makes the addresses of containers sources of a firewalld zone,
// over D-Bus, and reports when firewalld has lost them.
//
// firewalld only accepts: a source of the zone "trusted" may send anywhere. The
// isolation is in the table of package nftables, because firewalld drops at a reload
// whatever was set at run time. So a reload closes traffic and never opens any.
package firewalld

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names on the bus (firewalld, firewall/config/dbus.py).
const (
	busName    = "org.fedoraproject.FirewallD1"
	path       = dbus.ObjectPath("/org/fedoraproject/FirewallD1")
	configPath = path + "/config"

	mainInterface   = busName
	zoneInterface   = busName + ".zone"
	configInterface = busName + ".config"
)

// Conn is a firewalld on a message bus.
type Conn struct {
	bus      *dbus.Conn
	deadline time.Duration
}

// callDeadline bounds every call. firewalld answers one call after the other. While it
// starts or reloads, half a second to some seconds, it answers none.
const callDeadline = 10 * time.Second

// newConn returns the firewalld on a bus.
func newConn(bus *dbus.Conn) *Conn { return &Conn{bus, callDeadline} }

// call calls a method and stores its results.
func (c *Conn) call(object dbus.BusObject, method string, args []any, results ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.deadline)
	defer cancel()
	// NoAutoStart: the question whether firewalld runs must not start it.
	call := object.CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	if errors.Is(call.Err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%s)", ErrNoAnswer, c.deadline)
	}
	if call.Err != nil {
		return refused(call.Err)
	}
	if err := call.Store(results...); err != nil {
		return fmt.Errorf("unexpected answer to %s: %w", method, err)
	}
	return nil
}

// zone calls a method of the zone interface.
func (c *Conn) zone(method string, args []any, results ...any) error {
	return c.call(c.bus.Object(busName, path), zoneInterface+"."+method, args, results...)
}

// property returns a property of one of firewalld's objects, which must be a string.
func (c *Conn) property(object dbus.ObjectPath, iface, name string) (string, error) {
	var value dbus.Variant
	err := c.call(c.bus.Object(busName, object), "org.freedesktop.DBus.Properties.Get", []any{iface, name}, &value)
	if err != nil {
		return "", err
	}
	text, is := value.Value().(string)
	if !is {
		return "", fmt.Errorf("property %s is %s, not a string", name, value)
	}
	return text, nil
}
