// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

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
