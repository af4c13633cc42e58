// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Errors that callers branch on.
var (
	ErrNotInstalled = errors.New("not installed")
	ErrLocked       = errors.New("another program holds the xtables lock")

	// ErrUnusable says that the program is there, and that the kernel, or a part of
	// iptables, is not. To try again is no use.
	ErrUnusable = errors.New("iptables does not work on this host")

	// ErrFormer says that the other variant of iptables has rules of the plugin.
	ErrFormer = errors.New("the variant that the host used before holds rules of the plugin")
)

// Error says that a program of iptables failed.
type Error struct {
	Program string // path
	Reason  string // what it wrote to stderr, or how it ended
	err     error
}

// Error names the program and the reason.
func (e *Error) Error() string { return fmt.Sprintf("running %s: %s", e.Program, e.Reason) }

// Unwrap returns ErrLocked, ErrUnusable, the error of starting the program, or nil.
func (e *Error) Unwrap() error { return e.err }

// failure returns the error of a program that the plugin ended for a cause, or that
// failed with an error of os/exec.
func failure(program string, cause, err error, stderr string) *Error {
	var exit *exec.ExitError
	switch {
	case cause != nil:
		return &Error{Program: program, Reason: cause.Error()}
	case errors.Is(err, exec.ErrWaitDelay):
		return &Error{Program: program, Reason: "it ended, and left a process behind that keeps its output open"}
	case !errors.As(err, &exit):
		return &Error{Program: program, Reason: err.Error(), err: err}
	}
	e := &Error{Program: program, Reason: exit.String()}
	if exit.Exited() {
		e.err = kindOf(stderr)
	}
	if stderr = inOneLine(stderr); stderr != "" {
		e.Reason += ": " + stderr
	}
	return e
}

// sign is a text that iptables writes, in either variant, and what it means.
type sign struct {
	text string
	kind error
}

// signs are in the order in which they are looked for. The exit status does not tell: 4
// (RESOURCE_PROBLEM of xtables.h) is a lock that is held, a lock file that cannot be
// opened, a kernel without nf_tables, and a missing extension.
var signs = []sign{
	{"holding the xtables lock", ErrLocked},
	// Where the caller lacks something, and not the kernel:
	{"Permission denied", nil},
	{"Operation not permitted", nil},
	{"Memory allocation problem", nil},
	{"Cannot allocate memory", nil},
	{"Too many open files", nil},
	{"No buffer space available", nil},
	{"Resource temporarily unavailable", nil},
	{"Interrupted system call", nil},
	// Where the kernel, or a part of iptables, lacks something:
	{"can't initialize ip", ErrUnusable}, // legacy: the kernel has no such table
	{"unable to initialize table", ErrUnusable},
	{"Failed to initialize nft", ErrUnusable}, // the kernel has no nf_tables
	{"Could not fetch rule set generation id", ErrUnusable},
	{"missing kernel module", ErrUnusable}, // of an extension
	{"Couldn't load match", ErrUnusable},   // the extension's own file
	{"Couldn't load target", ErrUnusable},
	{"Parsing nftables rule failed", ErrUnusable}, // likewise, of a rule that is there
	{"is incompatible, use 'nft' tool", ErrUnusable},
	{"error while loading shared libraries", ErrUnusable},
}

// kindOf returns what a program's standard error means: ErrLocked, ErrUnusable or nil.
func kindOf(stderr string) error {
	for _, s := range signs {
		if strings.Contains(stderr, s.text) {
			return s.kind
		}
	}
	return nil
}

// IsUnusable reports whether an error is ErrUnusable, and nothing besides.
func IsUnusable(err error) bool {
	if joined, is := err.(interface{ Unwrap() []error }); is {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !IsUnusable(e) })
	}
	if wrapped := errors.Unwrap(err); wrapped != nil {
		return IsUnusable(wrapped)
	}
	return errors.Is(err, ErrUnusable)
}

// inOneLine returns the beginning of a text, with semicolons in the place of newlines.
func inOneLine(text string) string {
	const most = 2000
	text = strings.TrimSpace(text)
	text = text[:min(len(text), most)]
	return strings.ReplaceAll(text, "\n", "; ")
}
