// SPDX-License-Identifier: Apache-2.0

// Package journal is told of every change of the host by the code that makes it:
// of rules, elements of sets, sources of zones, flags of bridge ports and records.
//
// The process has one listener, as it serves one call: whatever way a change is
// come to, it is told of. Where nobody listens, telling costs nothing.
package journal

import "time"

// Step is a change that is made as one, whole or not at all.
type Step struct {
	Where          string // of the host: the program, table or file system that keeps it
	Added, Removed []string
	Took           time.Duration
	Err            error // that it failed; what was to be added or removed may be so, or not
}

var listener func(Step)

// Listen has every step from now on told to a listener, which several goroutines
// may call at once. It is called before the first one.
func Listen(l func(Step)) { listener = l }

// Tell tells of a step that began some time ago and has ended, with an error or
// without. What it was is asked for only if somebody listens; of nothing, nobody
// is told.
func Tell(where string, began time.Time, what func() (added, removed []string), err error) {
	if listener == nil {
		return
	}
	took := time.Since(began)
	if added, removed := what(); len(added)+len(removed) > 0 {
		listener(Step{where, added, removed, took, err})
	}
}

// Added is what of a step that just adds.
func Added(what ...string) func() (added, removed []string) {
	return func() ([]string, []string) { return what, nil }
}

// Removed is what of a step that just removes.
func Removed(what ...string) func() (added, removed []string) {
	return func() ([]string, []string) { return nil, what }
}
