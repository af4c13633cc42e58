// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"path/filepath"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestKilledSwitch has an ADD that moves a container to another backend killed, by
// a program that it starts, before or after that did its work. Then the container
// is deleted, or added again: either leaves nothing of the backend that is not its
// own, and at no time anything of others is lost.
func TestKilledSwitch(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{"iptables": host.NFTables, host.NFTables: "iptables"} {
		t.Run("from "+from, func(t *testing.T) {
			t.Parallel()
			onEachVariant(t, func(t *testing.T, h *host.Host) {
				w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"})
				w.checkAllOpen(t)
				w.protect(t, h)
				n := host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())
				s := switching{plain(t, h, n, "newcomer"), n, from, to, h}
				s.testKilled(t)
				w.check(t, usual, "after all")
				w.call(t, h.Firewall, "CHECK")
			})
		})
	}
}

// switching is a container whose network changes its backend.
type switching struct {
	*host.Container
	network  *host.Network
	from, to string
	h        *host.Host
}

func (s switching) testKilled(t *testing.T) {
	before := canonical(withoutAdminInTable(state(t, s.h)))
	s.add(t, s.to)
	after := canonical(withoutAdminInTable(state(t, s.h)))
	s.del(t, before, "without a fault")
	for _, program := range programs {
		for _, kind := range []string{"killing", "work, then killing"} {
			f := fault{program, 1, 1, kind}
			s.killed(t, f)
			s.del(t, before, "DEL after a change with "+f.String())
			s.killed(t, f)
			s.add(t, s.to)
			same(t, after, canonical(withoutAdminInTable(state(t, s.h))), "ADD after a change with "+f.String())
			s.del(t, before, "DEL after that")
		}
	}
}

func (s switching) add(t *testing.T, backend string) {
	t.Helper()
	s.network.Backend = backend
	must(s.Call(s.h.Firewall, "ADD"))(t)
	must(s.Call(s.h.Firewall, "CHECK"))(t)
}

func (s switching) del(t *testing.T, before, what string) {
	t.Helper()
	must(s.Call(s.h.Firewall, "DEL"))(t)
	same(t, before, canonical(withoutAdminInTable(state(t, s.h))), what)
}

// killed has the ADD killed that changes the backend.
func (s switching) killed(t *testing.T, f fault) {
	t.Helper()
	s.add(t, s.from)
	isolation := linesWith(state(t, s.h), "br1", "br2")
	s.network.Backend = s.to
	if _, err := s.Call(s.h.Firewall, "ADD", "PATH="+string(newShims(t, f))); err == nil {
		t.Errorf("%s: ADD was not killed", f)
	}
	for _, line := range isolation {
		if len(linesWith(state(t, s.h), line)) == 0 {
			t.Errorf("%s: lost: %s", f, line)
		}
	}
}

// TestUnreadSwitch has nobody take the result of an ADD that moves a container to a
// backend which no other container has. Nothing of that backend is left, not even the
// isolation of other bridges: no record would speak of it, and no DEL remove it.
func TestUnreadSwitch(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{"iptables": host.NFTables, host.NFTables: "iptables"} {
		t.Run("from "+from, func(t *testing.T) {
			onVariant(t, "nft", func(t *testing.T, h *host.Host) {
				empty := operators(h, state(t, h))
				neighbour := plain(t, h, onBackendOf(from, "neighbour", "br8", 8), "neighbour")
				network := onBackendOf(from, "own", "br9", 9)
				moved := plain(t, h, network, "newcomer")
				must(neighbour.Call(h.Firewall, "ADD"))(t)
				must(moved.Call(h.Firewall, "ADD"))(t)
				before := operators(h, state(t, h))
				wrapper := filepath.Join(t.TempDir(), "firewall")
				ok(t, host.WriteScript(wrapper, "exec "+h.Firewall+" >/dev/full\n"))
				network.Backend = to
				if _, err := moved.Call(wrapper, "ADD"); err == nil {
					t.Error("ADD succeeds without its result")
				}
				same(t, before, operators(h, state(t, h)), "ADD whose result cannot be written")
				must(neighbour.Call(h.Firewall, "DEL"))(t)
				must(moved.Call(h.Firewall, "DEL"))(t)
				same(t, empty, operators(h, state(t, h)), "the last DEL")
			})
		})
	}
}

// onBackendOf returns an isolated network with a backend of its own.
func onBackendOf(backend, name, bridge string, n int) *host.Network {
	network := host.Dual(name, bridge, n, place{"isolated", "allow"}.firewall())
	network.Backend = backend
	return network
}
