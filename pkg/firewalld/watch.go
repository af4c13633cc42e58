// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Event is a reason why sources of zones or rules of iptables may be gone.
type Event string

// The events. With each of the first three, firewalld drops what was set at run time.
const (
	Started  Event = "firewalld started"
	Stopped  Event = "firewalld stopped"
	Reloaded Event = "firewalld reloaded" // also from --reset-to-defaults, which reloads

	// Rezoned is one at which firewalld 2.3 flushes iptables, if it is its backend.
	Rezoned Event = "firewalld has another default zone"
)

var errLost = errors.New("the connection to the bus is lost")

// Watch calls ready once it is listening, and happened at every event. It returns nil
// when the context is done, and an error when the connection is lost.
func (c *Conn) Watch(ctx context.Context, ready func(), happened func(Event)) error {
	signals := make(chan *dbus.Signal, 16)
	c.bus.Signal(signals)
	if err := c.subscribe(ctx); err != nil {
		return fmt.Errorf("asking the bus for firewalld's signals: %w", err)
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

// subscribe asks the bus for the signals that events come from: a reload, a new default
// zone, and a new owner of firewalld's name.
func (c *Conn) subscribe(ctx context.Context) error {
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(mainInterface), dbus.WithMatchMember("Reloaded")},
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(mainInterface), dbus.WithMatchMember("DefaultZoneChanged")},
		{
			dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busName),
		},
	} {
		limited, cancel := context.WithTimeout(ctx, c.deadline)
		err := c.bus.AddMatchSignalContext(limited, match...)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// eventOf returns the event that a signal stands for, or nothing.
func eventOf(s *dbus.Signal) Event {
	switch s.Name {
	case mainInterface + ".Reloaded":
		return Reloaded
	case mainInterface + ".DefaultZoneChanged":
		return Rezoned
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
