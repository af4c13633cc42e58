// SPDX-License-Identifier: Apache-2.0

// Package firewalld makes the addresses of containers sources of a firewalld
// zone, over D-Bus, and tells when firewalld has forgotten them.
//
// Only what firewalld accepts is kept there: traffic from a source of the zone
// "trusted" may be forwarded to anywhere. It cannot keep the isolation, which is
// in the table of package nftables, for whatever is set in firewalld at run time
// is gone after a reload. So a reload closes, and never opens.
package firewalld

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names on the bus (firewall/config/dbus.py).
const (
	busName    = "org.fedoraproject.FirewallD1"
	path       = dbus.ObjectPath("/org/fedoraproject/FirewallD1")
	configPath = path + "/config"

	mainInterface   = busName
	zoneInterface   = busName + ".zone"
	configInterface = busName + ".config"
)

// Conn is firewalld as it is seen over a connection to a bus.
type Conn struct {
	bus      *dbus.Conn
	deadline time.Duration
}

// Deadline bounds every call. firewalld answers one after the other, and none
// while it starts or reloads: half a second to some seconds.
const callDeadline = 10 * time.Second

// New returns firewalld over a connection.
func newConn(bus *dbus.Conn) *Conn { return &Conn{bus, callDeadline} }

// call calls a method, and stores what it returns.
func (c *Conn) call(object dbus.BusObject, method string, args []any, results ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.deadline)
	defer cancel()
	// firewalld is not started for the question whether it runs.
	call := object.CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	if errors.Is(call.Err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%s)", ErrNoAnswer, c.deadline)
	}
	if call.Err != nil {
		return refused(call.Err)
	}
	if err := call.Store(results...); err != nil {
		return fmt.Errorf("the answer to %s is not what it should be: %w", method, err)
	}
	return nil
}

func (c *Conn) zone(method string, args []any, results ...any) error {
	return c.call(c.bus.Object(busName, path), zoneInterface+"."+method, args, results...)
}

// property returns one of firewalld's, such as what its configuration says.
func (c *Conn) property(object dbus.ObjectPath, iface, name string) (string, error) {
	var value dbus.Variant
	err := c.call(c.bus.Object(busName, object), "org.freedesktop.DBus.Properties.Get", []any{iface, name}, &value)
	if err != nil {
		return "", err
	}
	text, is := value.Value().(string)
	if !is {
		return "", fmt.Errorf("property %s is %s, and no text", name, value)
	}
	return text, nil
}
