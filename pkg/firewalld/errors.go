// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Errors that callers branch on.
var (
	// ErrNotRunning says that there is no firewalld on the bus, or no bus.
	ErrNotRunning = errors.New("firewalld is not running")

	// ErrElsewhere says that the firewalld on the bus filters another network
	// namespace than the caller's. The bus of a rootless container engine is so.
	ErrElsewhere = errors.New("the firewalld on the bus belongs to another network namespace")

	// ErrNotAuthorized says that the bus or firewalld refuses the caller.
	ErrNotAuthorized = errors.New("firewalld refuses the caller: Not Authorized")

	// ErrNoAnswer says that firewalld did not answer before the deadline.
	ErrNoAnswer = errors.New("no answer in time")

	// ErrStrict says that firewalld drops connections to published ports, unless it
	// opened the port itself.
	ErrStrict = errors.New("firewalld drops connections to published ports: StrictForwardPorts is yes")

	// ErrUnknownZone says that firewalld has no such zone.
	ErrUnknownZone = errors.New("unknown to firewalld")
)

// refusal is an error that came over the bus: firewalld's, whose text begins with a
// code, or the bus's.
type refusal struct {
	name string // of the D-Bus error
	code string // of firewall/errors.py, such as ZONE_CONFLICT; empty for the bus's
	text string
}

func (r refusal) Error() string { return r.text }

// Unwrap returns ErrNotRunning or ErrNotAuthorized where that is what the refusal
// means.
func (r refusal) Unwrap() error {
	switch {
	case r.name == "org.freedesktop.DBus.Error.NameHasNoOwner", r.name == "org.freedesktop.DBus.Error.ServiceUnknown":
		return ErrNotRunning
	case strings.Contains(r.name, ".NotAuthorizedException"), r.name == "org.freedesktop.DBus.Error.AccessDenied":
		return ErrNotAuthorized
	}
	return nil
}

// refused turns an error of the D-Bus library into a refusal, if it is one.
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

// isRefusal reports whether firewalld or the bus answered with an error.
func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// hasCode reports whether an error is firewalld's and has one of the codes.
func hasCode(err error, codes ...string) bool {
	var r refusal
	if !errors.As(err, &r) {
		return false
	}
	return slices.Contains(codes, r.code)
}
