// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestMissing takes rules away from each driver, and asks. Nothing is written.
func TestMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		backend policy.Backend
		do      func(*fakeHost)
		table   bool
		filter  bool
	}{
		"nothing":          {policy.IPTables, func(*fakeHost) {}, false, false},
		"isolation":        {policy.IPTables, func(h *fakeHost) { delete(h.drivers[policy.Table].holds.isolated, "br1") }, true, false},
		"all of the table": {policy.NFTables, func(h *fakeHost) { h.drivers[policy.Table].holds = newHolding() }, true, false},
		"all of iptables":  {policy.IPTables, func(h *fakeHost) { h.drivers[policy.Filter].holds = newHolding() }, false, true},
		"unused iptables":  {policy.NFTables, func(h *fakeHost) { h.drivers[policy.Filter].holds = newHolding() }, false, false},
		"an address": {policy.IPTables, func(h *fakeHost) {
			delete(h.drivers[policy.Filter].holds.accepted, netip.MustParsePrefix("10.1.0.2/32"))
		}, false, true},
		"a renamed bridge":  {policy.NFTables, func(h *fakeHost) { h.rename("br1", "new") }, true, false},
		"an absent program": {policy.NFTables, func(h *fakeHost) { h.drivers[policy.Filter].families = 0 }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := twoBridges(t, c.backend)
			h.took()
			c.do(h)
			for driver, want := range map[policy.DriverName]bool{policy.Table: c.table, policy.Filter: c.filter, policy.Zones: false} {
				if got, err := h.engine().Missing(driver, true); got != want || err != nil {
					t.Errorf("%s: missing %t, %v", driver, got, err)
				}
			}
			if steps := h.took(); len(steps) > 0 {
				t.Errorf("wrote %q", steps)
			}
			_, err := h.engine().Restore()
			ok(t, err)
			if got, err := h.engine().Missing(policy.Table, true); got || err != nil {
				t.Errorf("restored: missing %t, %v", got, err)
			}
		})
	}
}

// TestMissingUnread asks a driver that cannot be read.
func TestMissingUnread(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	h.drivers[policy.Table].unread, h.drivers[policy.Table].families = errors.New("no answer"), 0
	h.drivers[policy.Table].lacks = errors.New("no nf_tables")
	if _, err := h.engine().Missing(policy.Table, true); err == nil {
		t.Error("no error")
	}
}

// TestMissingInTheMiddle asks while a call works: about what that call has written, it
// is not certain.
func TestMissingInTheMiddle(t *testing.T) {
	t.Parallel()
	h, two := twoBridges(t, policy.NFTables)
	asked := false
	h.before = func(step string) error {
		asked = true
		h.mu.Unlock()
		defer h.mu.Lock()
		if _, err := h.engine().Missing(policy.Table, true); !IsTemporary(err) {
			t.Errorf("%s: %v", step, err)
		}
		if _, err := h.engine().Missing(policy.Table, false); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		return nil
	}
	ok(t, h.engine().Add(two, func() error { return nil }))
	h.before = nil
	if missing, err := h.engine().Missing(policy.Table, true); !asked || missing || err != nil {
		t.Errorf("asked %t, then missing %t, %v", asked, missing, err)
	}
}
