// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart.
var (
	ErrNotInstalled = errors.New("not installed")
	ErrLocked       = errors.New("another program holds the lock of the tables")
)

// Error says that a program failed.
type Error struct {
	Program string // its path
	Reason  string // what it wrote to stderr, or how it ended
	err     error
}

// Error returns the program, why it failed and what it wrote.
func (e *Error) Error() string { return fmt.Sprintf("running %s: %s", e.Program, e.Reason) }

// Unwrap returns ErrLocked, or why the program did not start.
func (e *Error) Unwrap() error { return e.err }

// exitLocked is RESOURCE_PROBLEM in iptables: it could not get the lock.
const exitLocked = 4

// failure returns an *Error unless the program succeeded.
func (o outcome) failure(program string) error {
	if !o.hung && o.status.Exited() && o.status.ExitStatus() == 0 {
		return nil
	}
	e := &Error{Program: program, Reason: fmt.Sprintf("exit status %d", o.status.ExitStatus())}
	switch {
	case o.hung:
		e.Reason = fmt.Sprintf("it hung and was ended after %s", programTimeout)
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
