// SPDX-License-Identifier: Apache-2.0

// Package runtimes has container engines, as they are installed, use the plugin
// as their users do: each on a throw-away host (see host), with the networks that
// it writes itself. A program that is missing fails a test: scripts/prerequisites
// installs them, `make build plugins buildkit nerdctl` builds the others.
package runtimes

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Engines wait more than they work.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// ok ends the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must ends the test on an error, and else returns the value that came with it.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return value
	}
}
