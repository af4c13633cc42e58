// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFailedADD has ADD fail, on a host with other containers, by a program or a
// call to the kernel that fails. What was there before is there afterwards, and nothing else.
func TestFailedADD(t *testing.T) {
	t.Parallel()
	newcomers := map[string]func(t *testing.T, h *host.Host) *host.Container{
		"on a host of its own": func(t *testing.T, h *host.Host) *host.Container {
			return plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		},
		"on a bridge of its own": func(t *testing.T, h *host.Host) *host.Container {
			newWorld(t, h, everyPlace...).protect(t, h)
			return plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		},
		"on a bridge with others": func(t *testing.T, h *host.Host) *host.Container {
			w := newWorld(t, h, everyPlace...)
			w.protect(t, h)
			w.networks[2].network.Plain = true
			return plain(t, h, w.networks[2].network, "newcomer")
		},
	}
	for name, newcomer := range newcomers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachBackend(t, func(t *testing.T, h *host.Host) { testFailedADD(t, h, newcomer(t, h)) })
		})
	}
}

func testFailedADD(t *testing.T, h *host.Host, c *host.Container) {
	before := operators(h, state(t, h))
	must(c.Call(h.Firewall, "ADD"))(t)
	after := operators(h, state(t, h))
	must(c.Call(h.Firewall, "DEL"))(t)
	same(t, before, operators(h, state(t, h)), "DEL without a fault")

	eachFault(t, h, single, func(what string, try trial) {
		switch try(c, "ADD") {
		case succeeded:
			same(t, canonical(after), canonical(operators(h, state(t, h))), "an ADD that succeeds with "+what)
			must(c.Call(h.Firewall, "CHECK"))(t)
			must(c.Call(h.Firewall, "DEL"))(t)
		case failedTwice:
			keeps(t, before, operators(h, state(t, h)), "ADD with "+what)
			must(c.Call(h.Firewall, "DEL"))(t)
		}
		same(t, before, operators(h, state(t, h)), "after ADD with "+what)
	})
	eachFault(t, h, lasting, func(what string, try trial) {
		try(c, "ADD")
		keeps(t, before, operators(h, state(t, h)), "ADD with "+what)
		must(c.Call(h.Firewall, "DEL"))(t)
		same(t, before, operators(h, state(t, h)), "DEL after ADD with "+what)
	})
}

// TestKilledADD has ADD killed, by a program that it starts, before or after that
// did its work. Nothing of other containers' is lost, the next ADD finishes the
// work, and DEL takes all of it back.
func TestKilledADD(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		newWorld(t, h, everyPlace...).protect(t, h)
		c := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		before := state(t, h)
		must(c.Call(h.Firewall, "ADD"))(t)
		after := canonical(state(t, h))
		for _, program := range programs {
			for _, kind := range []string{"killing", "work, then killing"} {
				f := fault{program, 1, 1, kind}
				must(c.Call(h.Firewall, "DEL"))(t)
				if stdout, err := c.Call(h.Firewall, "ADD", "PATH="+string(newShims(t, f))); err == nil || stdout != "" {
					t.Errorf("%s: ADD was not killed: %v: %s", f, err, stdout)
				}
				keeps(t, before, state(t, h), "ADD with "+f.String())
				if kind == "killing" {
					must(c.Call(h.Firewall, "DEL"))(t)
					same(t, before, state(t, h), "DEL after ADD with "+f.String())
					continue
				}
				must(c.Call(h.Firewall, "ADD"))(t)
				same(t, after, canonical(state(t, h)), "ADD after ADD with "+f.String())
			}
		}
	})
}

// TestUnreadADD has nobody take the result of ADD.
func TestUnreadADD(t *testing.T) {
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		c := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		before := operators(h, state(t, h))
		wrapper := filepath.Join(t.TempDir(), "firewall")
		ok(t, host.WriteScript(wrapper, "exec "+h.Firewall+" >/dev/full\n"))
		if _, err := c.Call(wrapper, "ADD"); err == nil {
			t.Error("ADD succeeds without its result")
		}
		same(t, before, operators(h, state(t, h)), "ADD whose result cannot be written")
	})
}

// TestHanging has a program hang. The plugin ends it after 40 seconds, which is
// what these two cases take.
func TestHanging(t *testing.T) {
	t.Parallel()
	for variant, f := range map[string]fault{
		"nft":    {"ip6tables-restore", 1, 1, "hanging"},
		"legacy": {"iptables-restore", 1, 1, "work, then hang"},
	} {
		t.Run(variant, func(t *testing.T) {
			onVariant(t, variant, func(t *testing.T, h *host.Host) {
				w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"})
				w.protect(t, h)
				w.networks[0].network.Plain = true
				c := plain(t, h, w.networks[0].network, "newcomer")
				before, unhindered := state(t, h), time.Now()
				must(c.Call(h.Firewall, "ADD"))(t)
				must(c.Call(h.Firewall, "DEL"))(t)
				start := time.Now()
				succeeds := call(t, h, c, "ADD", f)
				// What is left to do takes longer on a busy machine, as it did unhindered.
				took, most := time.Since(start), 45*time.Second+10*start.Sub(unhindered)
				if took < 40*time.Second || took > most {
					t.Errorf("ADD with %s took %s, and not 40s to %s", f, took, most)
				}
				if succeeds {
					must(c.Call(h.Firewall, "CHECK"))(t)
					must(c.Call(h.Firewall, "DEL"))(t)
				}
				same(t, before, state(t, h), "ADD with "+f.String())
				w.check(t, usual, "ADD with "+f.String())
			})
		})
	}
}
