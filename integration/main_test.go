// SPDX-License-Identifier: Apache-2.0

// Package integration runs the plugin on throw-away hosts (see host) as a
// container engine does: with real bridges, real iptables of both variants, real
// nftables, the reference plugins and upstream's firewall. A program that is
// missing fails a test: `make build plugins` builds the plugins.
package integration

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// hostsAtOnce is how many hosts there are at a time. They spend most of it waiting for
// packets that do not come, so there can be more of them than the machine has processors.
var hostsAtOnce = "16"

func TestMain(m *testing.M) {
	if program := os.Getenv(withoutVariable); program != "" {
		panic(hideNFTables(program)) // it does not come back
	}
	flag.Parse()
	if err := flag.Set("test.parallel", hostsAtOnce); err != nil {
		panic(err)
	}
	end, err := host.ShareForwards()
	if err != nil {
		panic(err)
	}
	code := m.Run()
	if err := end(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// onEachBackend runs a test on a host of its own for each backend.
func onEachBackend(t *testing.T, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	for _, b := range host.Backends {
		t.Run(b.Name, func(t *testing.T) { onBackend(t, b, body) })
	}
}

func onBackend(t *testing.T, b host.Backend, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Use(b))
		body(t, h)
	})
}

// onNFTables runs a test on a host that has the plugin make its rules without
// iptables.
func onNFTables(t *testing.T, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	b := nftablesBackend()
	t.Run(b.Name, func(t *testing.T) { onBackend(t, b, body) })
}

func nftablesBackend() host.Backend {
	return host.Backends[slices.IndexFunc(host.Backends, func(b host.Backend) bool { return b.Key == host.NFTables })]
}

// part is a part of a long test, which does not need what the others leave.
type part func(t *testing.T, h *host.Host)

// onNFTablesInParts runs the parts of a test like onNFTables, each on a host of its
// own, so that nobody waits for one long test at the end.
func onNFTablesInParts(t *testing.T, parts map[string]part) {
	t.Helper()
	inParts(t, nftablesBackend(), parts)
}

func inParts(t *testing.T, b host.Backend, parts map[string]part) {
	t.Helper()
	t.Run(b.Name, func(t *testing.T) {
		for name, body := range parts {
			t.Run(name, func(t *testing.T) { onBackend(t, b, body) })
		}
	})
}

// onEachVariant runs a test that is about iptables for each variant of it.
func onEachVariant(t *testing.T, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	for _, variant := range host.Variants {
		t.Run(variant, func(t *testing.T) { onVariant(t, variant, body) })
	}
}

func onVariant(t *testing.T, variant string, body func(t *testing.T, h *host.Host)) {
	t.Helper()
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant(variant))
		body(t, h)
	})
}

// ok ends the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must ends the test on an error, and else returns the value that came with it:
// must(h.Rules())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return value
	}
}
