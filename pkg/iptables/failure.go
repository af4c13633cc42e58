// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers branch on.
var (
	ErrNotInstalled = errors.New("not installed")
	ErrLocked       = errors.New("another program holds the xtables lock")
)

// Error says that a program of iptables failed.
type Error struct {
	Program string // path
	Reason  string // what it wrote to stderr, or how it ended
	err     error
}

// Error names the program and the reason.
func (e *Error) Error() string { return fmt.Sprintf("running %s: %s", e.Program, e.Reason) }

// Unwrap returns ErrLocked, the error of starting the program, or nil.
func (e *Error) Unwrap() error { return e.err }

// exitLocked is RESOURCE_PROBLEM of iptables (xtables.h): it could not get the lock.
const exitLocked = 4

// failure returns an *Error unless the program succeeded.
func (o outcome) failure(program string) error {
	if !o.hung && o.status.Exited() && o.status.ExitStatus() == 0 {
		return nil
	}
	e := &Error{Program: program, Reason: fmt.Sprintf("exit status %d", o.status.ExitStatus())}
	switch {
	case o.hung:
		e.Reason = fmt.Sprintf("it hung and was killed after %s", programTimeout)
		return e
	case o.status.Signaled():
		e.Reason = "signal: " + o.status.Signal().String()
	case o.status.ExitStatus() == exitLocked:
		e.err = ErrLocked
	}
	if stderr := strings.TrimSpace(o.stderr); stderr != "" {
		e.Reason += ": " + strings.ReplaceAll(stderr, "\n", "; ")
	}
	return e
}
