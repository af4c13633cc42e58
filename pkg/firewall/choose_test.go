// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// withoutFirewalld is a host with a container that nobody added yet, on a bridge that
// another container is isolated on by a backend.
func withoutFirewalld(t *testing.T, backend policy.Backend) (*fakeHost, policy.Attachment) {
	t.Helper()
	h, a := twoBridges(t, backend)
	h.drivers[policy.Zones].families, h.drivers[policy.Zones].unread = 0, firewalld.ErrNotRunning
	a.Backend = ""
	return h, a
}

// TestUnusable has iptables there and not working. Whoever named no backend gets nftables;
// whoever named iptables is told why not. What iptables has isolated stays isolated.
func TestUnusable(t *testing.T) {
	t.Parallel()
	broken := fmt.Errorf("IPv4: %w", iptables.ErrUnusable)
	hosts := map[string]func(h *fakeHost){
		"it cannot be read": func(h *fakeHost) { h.drivers[policy.Filter].unread = broken },
		"it cannot be written": func(h *fakeHost) {
			h.before = func(step string) error {
				if strings.HasPrefix(step, "apply iptables") {
					return broken
				}
				return nil
			}
		},
	}
	for name, breaks := range hosts {
		h, a := withoutFirewalld(t, policy.IPTables)
		before := h.rules()
		breaks(h)
		a.Backend = policy.IPTables
		err := h.engine().Add(a, h.delivered)
		if err == nil || IsTemporary(err) || !strings.Contains(err.Error(), "does not work") {
			t.Errorf("%s: ADD with iptables: %v", name, err)
		}
		if got := h.rules(); got != before || len(h.records()) != 1 {
			t.Errorf("%s: a failed ADD leaves %s, %v", name, got, h.records())
		}
		a.Backend = ""
		ok(t, h.engine().Add(a, h.delivered))
		if got := h.drivers[policy.Table].holds.String(); got != "br1 same-bridge, br2 isolated, 10.2.0.2" {
			t.Errorf("%s: got %s", name, got)
		}
		if said := strings.Join(h.warned, "\n"); !strings.Contains(said, `going on with the backend "nftables"`) {
			t.Errorf("%s: warned %q", name, said)
		}
		h.warned = nil
		ok(t, h.engine().Add(a, h.delivered)) // which no longer tries
		if said := strings.Join(h.warned, "\n"); strings.Contains(said, "going on with") {
			t.Errorf("%s: the next ADD tries again: %s", name, said)
		}
	}
}

// TestUnusableAlone has neither iptables nor nf_tables: there is nothing to go on with.
func TestUnusableAlone(t *testing.T) {
	t.Parallel()
	h, a := withoutFirewalld(t, policy.IPTables)
	h.drivers[policy.Filter].unread = iptables.ErrUnusable
	h.drivers[policy.Table].families, h.drivers[policy.Table].lacks = 0, nftables.ErrUnsupported
	if err := h.engine().Add(a, h.delivered); err == nil || !strings.Contains(err.Error(), "does not work") {
		t.Errorf("got %v", err)
	}
}

// TestKeepsBackend wants a network that names no backend to keep the one of its records, as
// long as the host has that.
func TestKeepsBackend(t *testing.T) {
	t.Parallel()
	lacks := func(name policy.DriverName) func(*fakeHost) {
		return func(h *fakeHost) { h.drivers[name].families, h.drivers[name].lacks = 0, errors.New("lacking") }
	}
	runs := func(h *fakeHost) {
		h.drivers[policy.Zones].families, h.drivers[policy.Zones].unread = policy.BothFamilies, nil
	}
	for name, test := range map[string]struct {
		recorded policy.Backend
		host     func(*fakeHost)
		own, new policy.Backend // of the network with records, and of another one
		warned   string
	}{
		"iptables was installed":    {policy.NFTables, func(*fakeHost) {}, policy.NFTables, policy.IPTables, `gets "iptables" here`},
		"iptables is there as ever": {policy.IPTables, func(*fakeHost) {}, policy.IPTables, policy.IPTables, ""},
		"iptables was taken away":   {policy.IPTables, lacks(policy.Filter), policy.NFTables, policy.NFTables, `gets "nftables" here: lacking`},
		"firewalld was started":     {policy.NFTables, runs, policy.Firewalld, policy.Firewalld, `gets "firewalld" here: firewalld runs`},
	} {
		for _, network := range []string{"br1", "br2"} {
			h, a := withoutFirewalld(t, test.recorded)
			test.host(h)
			want, warned := test.new, test.warned
			if a.Network = network; network == "br1" {
				want = test.own
			}
			if want == test.recorded {
				warned = ""
			}
			ok(t, h.engine().Add(a, h.delivered))
			said := strings.Join(h.warned, "\n")
			if !strings.Contains(said, warned) || warned == "" && said != "" {
				t.Errorf("%s: ADD to %s warns %q, want %q", name, network, said, warned)
			}
			if got, _ := h.recordOf("10.2.0.2"); got.Backend != want {
				t.Errorf("%s: %s gets %q, want %q", name, network, got.Backend, want)
			}
		}
	}
}

// TestStrangersDEL deletes a container that no record speaks of, on a host on which
// something does not work. It might have rules of upstream's plugin, so that what may work
// later is an error.
func TestStrangersDEL(t *testing.T) {
	t.Parallel()
	locked := fmt.Errorf("IPv4: %w", iptables.ErrLocked)
	for name, test := range map[string]struct {
		driver policy.DriverName
		err    error
		fails  bool
	}{
		"firewalld hangs":                  {policy.Zones, firewalld.ErrNoAnswer, false},
		"the bus is gone":                  {policy.Zones, errRefused, false},
		"iptables does not work":           {policy.Filter, iptables.ErrUnusable, false},
		"iptables is locked":               {policy.Filter, locked, true},
		"iptables fails":                   {policy.Filter, errRefused, true},
		"ip6tables does not work, locked":  {policy.Filter, errors.Join(locked, iptables.ErrUnusable), true},
		"neither family of iptables works": {policy.Filter, errors.Join(iptables.ErrUnusable, iptables.ErrUnusable), false},
	} {
		h, a := twoBridges(t, policy.NFTables)
		a.Backend = ""
		h.drivers[test.driver].unread = test.err
		err := h.engine().Del(a)
		if (err != nil) != test.fails || test.fails && !errors.Is(err, test.err) && !errors.Is(err, locked) {
			t.Errorf("%s: %v", name, err)
		}
		if !test.fails && len(h.warned) == 0 {
			t.Errorf("%s: no warning", name)
		}
		if got := h.rules(); got != "nftables: br1 same-bridge, 10.1.0.2" {
			t.Errorf("%s: left %s", name, got)
		}
	}
}
