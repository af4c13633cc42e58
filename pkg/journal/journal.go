// SPDX-License-Identifier: Apache-2.0

// Package journal passes on every change of the host: rules, set elements, zone
// sources, flags of bridge ports, records. The code that makes a change reports it.
//
// A process serves one call, so it has one listener, and no change can miss it.
// Without a listener a report costs nothing.
package journal

import "time"

// Step is an atomic change.
type Step struct {
	Where          string // what holds it: a program, table, bridge or the records
	Added, Removed []string
	Took           time.Duration
	Err            error // why it failed; it may have taken effect all the same
}

var listener func(Step)

// Listen sets the listener. It must be called before the first step. Several
// goroutines may call the listener at once.
func Listen(l func(Step)) { listener = l }

// Tell reports a step that has ended, with an error or without. what is called only
// if there is a listener. Steps that change nothing are not reported.
func Tell(where string, began time.Time, what func() (added, removed []string), err error) {
	if listener == nil {
		return
	}
	took := time.Since(began)
	if added, removed := what(); len(added)+len(removed) > 0 {
		listener(Step{where, added, removed, took, err})
	}
}

// Added returns the argument what of Tell for a step that only adds.
func Added(what ...string) func() (added, removed []string) {
	return func() ([]string, []string) { return what, nil }
}

// Removed returns the argument what of Tell for a step that only removes.
func Removed(what ...string) func() (added, removed []string) {
	return func() ([]string, []string) { return nil, what }
}
