// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// fault is a way in which a step goes wrong.
type fault struct {
	name  string
	do    func() error
	lasts bool // all later steps go wrong, too
}

var errDied = errors.New("died")

var faults = []fault{
	{"fails", func() error { return errRefused }, false},
	{"and all later ones fail", func() error { return errRefused }, true},
	{"fails, though it was done", func() error { return errAfterwards }, false},
	{"and all later ones fail, though they were done", func() error { return errAfterwards }, true},
	{"kills the process", func() error { panic(errDied) }, false},
}

// scenario is a call on a host on which something is.
type scenario struct {
	name  string
	setUp func(h *fakeHost)
	call  func(h *fakeHost) error
}

func scenarios(backend policy.Backend) []scenario {
	one := attached(backend, "br1", "c1", policy.SameBridge, "10.1.0.2")
	two := attached(backend, "br2", "c2", policy.Isolated, "10.2.0.2")
	open := two
	open.IngressPolicy = policy.Open
	moved := two
	moved.Backend = map[policy.Backend]policy.Backend{
		policy.IPTables: policy.NFTables, policy.NFTables: policy.Firewalld, policy.Firewalld: policy.IPTables,
	}[backend]
	both := func(h *fakeHost) { h.add(one); h.add(two) }
	flush := func(h *fakeHost) {
		both(h)
		for _, d := range h.drivers {
			d.holds = newHolding()
		}
	}
	add := func(a policy.Attachment) func(*fakeHost) error {
		return func(h *fakeHost) error { return h.engine().Add(a, h.delivered) }
	}
	return []scenario{
		{"first ADD", func(*fakeHost) {}, add(one)},
		{"second ADD", func(h *fakeHost) { h.add(one) }, add(two)},
		{"ADD that opens a bridge", both, add(open)},
		{"ADD to another backend", both, add(moved)},
		{"ADD after a flush", flush, add(one)},
		{"DEL of one", both, func(h *fakeHost) error { return h.engine().Del(two) }},
		{"DEL of the last", func(h *fakeHost) { h.add(one) }, func(h *fakeHost) error { return h.engine().Del(one) }},
		{"GC", both, func(h *fakeHost) error { return h.engine().GC("br2", nil) }},
		{"restore", flush, func(h *fakeHost) error { _, err := h.engine().Restore(); return err }},
	}
}

// TestFaults has each step of each call go wrong in each way: nothing is ever open
// that must be closed, nothing is left that no record speaks of, and DELs clean up.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, backend := range policy.Backends {
		for _, s := range scenarios(backend) {
			t.Run(string(backend)+", "+s.name, func(t *testing.T) {
				t.Parallel()
				steps := len(s.befall(t, 0, fault{}))
				if steps == 0 {
					t.Fatal("no step is taken")
				}
				for n := 1; n <= steps; n++ {
					for _, f := range faults {
						t.Run(fmt.Sprintf("step %d %s", n, f.name), func(t *testing.T) { s.befall(t, n, f) })
					}
				}
			})
		}
	}
}

// befall runs a scenario with its nth step going wrong, and what sets it right. It
// returns the steps of the call.
func (s scenario) befall(t *testing.T, nth int, f fault) []string {
	t.Helper()
	h := newHost(t)
	for i, bridge := range []string{"br1", "br2"} {
		h.plug(bridge, fmt.Sprintf("c%d", i+1))
	}
	s.setUp(h)
	h.took()
	n := 0
	h.before = func(string) error {
		h.isClosed()
		if n++; nth > 0 && (n == nth || f.lasts && n > nth) {
			return f.do()
		}
		return nil
	}
	err := s.survive(h)
	if nth == 0 && err != nil {
		t.Fatal(err)
	}
	h.before = func(string) error { h.isClosed(); return nil }
	h.isClosed()
	steps := h.took()
	h.clean(t)
	return steps
}

// survive makes the call, and lives on where it dies.
func (s scenario) survive(h *fakeHost) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	return s.call(h)
}

// isClosed wants what is accepted to be isolated, as far as its record asks for it,
// and to have a record.
func (h *fakeHost) isClosed() {
	h.t.Helper()
	for name, d := range h.drivers {
		for address := range d.holds.accepted {
			a, recorded := h.recordOf(address.Addr().String())
			if !recorded {
				h.t.Errorf("%s accepts %s, and no record speaks of it", name, address)
			}
			first := h.drivers[a.Backend.Drivers()[0]]
			if a.IngressPolicy.Isolates() && h.isolatesNowhere(a.Bridge) {
				h.t.Errorf("%s accepts %s, and %s does not isolate %s", name, address, first.name, a.Bridge)
			}
		}
	}
}

func (h *fakeHost) isolatesNowhere(bridge string) bool {
	return h.drivers[policy.Table].holds.isolated[bridge] == "" && h.drivers[policy.Filter].holds.isolated[bridge] == ""
}

// clean deletes all containers, and wants nothing to be left.
func (h *fakeHost) clean(t *testing.T) {
	t.Helper()
	for i, bridge := range []string{"br1", "br2"} {
		a := policy.Attachment{Network: bridge, ContainerID: fmt.Sprintf("c%d", i+1), IfName: "eth0"}
		ok(t, h.engine().Del(a))
		h.unplug(portOf(bridge, a.ContainerID))
	}
	if got := h.rules(); got != "" || len(h.records()) > 0 {
		t.Errorf("left: %s, records %v", got, h.records())
	}
}
