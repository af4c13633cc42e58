// SPDX-License-Identifier: Apache-2.0

// Package tig stands for one of nerdctl's own, of which no registry has the
// module. nerdctl has helpers of its tests linked in, which name this interface,
// and never calls them.
package tig

// T is what those helpers ask of a test.
type T interface {
	FailNow()
	Log(args ...any)
	TempDir() string
}
