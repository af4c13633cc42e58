// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Event is something that may have cost sources of zones or rules of iptables.
type Event string

// The events. On each of them firewalld drops what was set at run time.
const (
	Started  Event = "firewalld started"
	Stopped  Event = "firewalld stopped"
	Reloaded Event = "firewalld reloaded"
)

var errLost = errors.New("the connection to the bus is lost")

// Watch calls happened at every event, until the context is done, and then
// returns nil, or the connection is lost.
func (c *Conn) Watch(ctx context.Context, ready func(), happened func(Event)) error {
	signals := make(chan *dbus.Signal, 16)
	c.bus.Signal(signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(mainInterface), dbus.WithMatchMember("Reloaded")},
		{
			dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busName),
		},
	} {
		limited, cancel := context.WithTimeout(ctx, c.deadline)
		err := c.bus.AddMatchSignalContext(limited, match...)
		cancel()
		if err != nil {
			return fmt.Errorf("asking the bus for firewalld's signals: %w", err)
		}
	}
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, open := <-signals:
			if !open {
				return errLost
			}
			if e := eventOf(s); e != "" {
				happened(e)
			}
		}
	}
}

// eventOf returns nothing for a signal that is none.
func eventOf(s *dbus.Signal) Event {
	switch s.Name {
	case mainInterface + ".Reloaded":
		return Reloaded
	case "org.freedesktop.DBus.NameOwnerChanged":
		var name, before, now string
		if dbus.Store(s.Body, &name, &before, &now) != nil || name != busName {
			return ""
		}
		if now == "" {
			return Stopped
		}
		return Started
	}
	return ""
}
