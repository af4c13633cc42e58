// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

func (h *fakeHost) port(bridge, container string) link.Link {
	return h.links.links[portOf(bridge, container)]
}

// TestCutOff has containers whose port outlives their DEL, as at a network disconnect:
// while one of the bridge is left, the isolation holds; the last one is cut off first.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, backend := range policy.Backends {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			h, c2 := twoBridges(t, backend)
			c2.IngressPolicy = policy.SameBridge
			h.add(c2)
			h.plug("br2", "c3")
			c3 := attached(backend, "br2", "c3", policy.SameBridge, "10.2.0.3")
			h.add(c3)
			h.took()
			ok(t, h.engine().Del(c2))
			if !h.port("br2", "c2").Up {
				t.Error("the first port was set down although the bridge stays isolated")
			}
			h.took()
			ok(t, h.engine().Del(c3))
			steps := h.took()
			var closing []string
			for _, step := range steps {
				if !slices.Contains([]string{"remove firewalld: 10.1.0.2"}, step) {
					closing = append(closing, step)
				}
			}
			if diff := cmp.Diff([]string{"set br2.c2 up false", "set br2.c3 up false"}, closing[:2]); diff != "" {
				t.Errorf("got %q", steps)
			}
		})
	}
}

// TestCutOffWithin cuts off each container of a bridge that is isolated within: with its
// DEL goes what guards its port.
func TestCutOffWithin(t *testing.T) {
	t.Parallel()
	h, c2 := twoBridges(t, policy.NFTables)
	h.add(c2)
	h.plug("br2", "c3")
	h.add(attached(policy.NFTables, "br2", "c3", policy.Isolated, "10.2.0.3"))
	ok(t, h.engine().Del(c2))
	if h.port("br2", "c2").Up || !h.port("br2", "c3").Up {
		t.Error("the deleted container's port is up, or another one's is down")
	}
	h.add(c2)
	if !h.port("br2", "c2").Up {
		t.Error("added again, the port is down")
	}
}

// TestBroughtBack adds a container whose port a DEL cut off: it is set up once its
// isolation stands, and has no flag of its last policy.
func TestBroughtBack(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.IPTables)
	h.links.filtered = 0 // so that the flag isolates
	h.add(a)
	ok(t, h.engine().Del(a))
	if p := h.port("br2", "c2"); p.Up || !p.Isolated {
		t.Fatalf("the port has up %t, isolated %t", p.Up, p.Isolated)
	}
	h.took()
	a.IngressPolicy = policy.Open
	h.add(a)
	if p := h.port("br2", "c2"); !p.Up || p.Isolated {
		t.Errorf("added again: the port has up %t, isolated %t", p.Up, p.Isolated)
	}
	want := []string{
		"flag br2.c2 false", "apply iptables: br1 same-bridge, 10.1.0.2, 10.2.0.2", "set br2.c2 up true", "deliver",
	}
	if diff := cmp.Diff(want, h.took()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStaysDown leaves a port alone that somebody else set down.
func TestStaysDown(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	ok(t, h.links.SetUp(h.port("br2", "c2"), false))
	h.add(a)
	if h.port("br2", "c2").Up {
		t.Error("the port was set up")
	}
}

// TestNotCutOff keeps the isolation where a port cannot be cut off.
func TestNotCutOff(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	h.before = func(step string) error {
		if step == "set br2.c2 up false" {
			return errors.New("no")
		}
		return nil
	}
	wrong(t, "DEL", h.engine().Del(a), "no")
	if got, want := h.rules(), "nftables: br1 same-bridge, br2 isolated, 10.1.0.2, 10.2.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	h.before = nil
	ok(t, h.engine().Del(a))
	if got, want := h.rules(), "nftables: br1 same-bridge, 10.1.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestForeignFlag has a port whose flag another program set: nothing of ours clears it.
func TestForeignFlag(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.plug("br2", "c3")
	foreign := h.port("br2", "c3")
	foreign.Isolated = true
	h.links.links[foreign.Name] = foreign
	for _, filtered := range []policy.Families{policy.BothFamilies, 0, policy.BothFamilies} {
		h.links.filtered = filtered
		h.add(a)
		ok(t, h.engine().Check(a))
		if own := h.port("br2", "c2"); own.Isolated != (filtered == 0) {
			t.Errorf("filtered %v: the own port has the flag %t", filtered, own.Isolated)
		}
	}
	ok(t, h.engine().Del(a))
	open := attached(policy.NFTables, "br2", "c3", policy.Open, "10.2.0.3")
	open.Network = a.Network
	h.add(open)
	if !h.port("br2", "c3").Isolated {
		t.Error("the flag of another program is gone")
	}
}
