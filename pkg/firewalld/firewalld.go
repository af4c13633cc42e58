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
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Deadline bounds every call. firewalld answers one after the other, and none
// while it starts or reloads: half a second to some seconds.
const Deadline = 10 * time.Second

// Errors that callers tell apart.
var (
	// ErrNotRunning says that firewalld is not on the bus, or that there is no bus.
	ErrNotRunning = errors.New("firewalld is not running")

	// ErrElsewhere says that the firewalld on the bus filters another network
	// namespace than that of the caller, whose bus it merely sees.
	ErrElsewhere = errors.New("the firewalld on the bus belongs to another network namespace")

	// ErrNotAuthorized says that bus or firewalld refuse to serve the caller.
	ErrNotAuthorized = errors.New("firewalld refuses the caller: Not Authorized")

	// ErrNoAnswer says that the deadline passed.
	ErrNoAnswer = errors.New("no answer in time")

	// ErrStrict says that firewalld lets through no published port that it does not
	// know.
	ErrStrict = errors.New("firewalld drops connections to published ports: StrictForwardPorts is yes")

	// ErrUnknownZone says that firewalld has no such zone.
	ErrUnknownZone = errors.New("unknown to firewalld")
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

// New returns firewalld over a connection.
func New(bus *dbus.Conn) *Conn { return &Conn{bus, Deadline} }

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

// refusal is an error that came over the bus: firewalld's own, which begins its
// text with a code, or one of the bus.
type refusal struct {
	name string // of the D-Bus error
	code string // firewalld's (firewall/errors.py), such as ZONE_CONFLICT; empty if it has none
	text string
}

func (r refusal) Error() string { return r.text }

// Unwrap tells apart what says nothing about the call itself.
func (r refusal) Unwrap() error {
	switch {
	case r.name == "org.freedesktop.DBus.Error.NameHasNoOwner", r.name == "org.freedesktop.DBus.Error.ServiceUnknown":
		return ErrNotRunning
	case strings.Contains(r.name, ".NotAuthorizedException"), r.name == "org.freedesktop.DBus.Error.AccessDenied":
		return ErrNotAuthorized
	}
	return nil
}

func refused(err error) error {
	var answer dbus.Error
	if !errors.As(err, &answer) {
		return err
	}
	r := refusal{name: answer.Name, text: answer.Name}
	if len(answer.Body) > 0 {
		if text, is := answer.Body[0].(string); is && text != "" {
			r.text = text
		}
	}
	code, _, _ := strings.Cut(r.text, ":")
	if code != "" && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "" {
		r.code = code
	}
	if kind := r.Unwrap(); kind != nil {
		return fmt.Errorf("%w: %w", kind, r)
	}
	return r
}

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// hasCode reports whether an error is firewalld's with one of the codes.
func hasCode(err error, codes ...string) bool {
	var r refusal
	if !errors.As(err, &r) {
		return false
	}
	return slices.Contains(codes, r.code)
}
