// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRetire leaves what upstream's plugin would have made, for networks of all
// backends, and nothing else: no table, no records, no flags.
func TestRetire(t *testing.T) {
	t.Parallel()
	for _, backend := range policy.Backends {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, backend)
			a.IngressPolicy = policy.SameBridge
			h.add(a)
			ok(t, h.engine().Retire(false))
			want := "iptables: br1 same-bridge, br2 same-bridge, 10.1.0.2, 10.2.0.2"
			if backend == policy.Firewalld { // whose zones upstream's plugin has as well
				want = "iptables: br1 same-bridge, br2 same-bridge; firewalld: 10.1.0.2, 10.2.0.2"
			}
			if got := h.rules(); got != want || len(h.records()) > 0 {
				t.Errorf("got %s, records %v, want %s", got, h.records(), want)
			}
			ok(t, h.engine().Retire(false))
			if got := h.rules(); got != want {
				t.Errorf("again: got %s", got)
			}
		})
	}
}

// TestRetireRefused changes nothing where upstream's plugin could not isolate.
func TestRetireRefused(t *testing.T) {
	t.Parallel()
	for words, prepare := range map[string]func(*fakeHost, *policy.Attachment){
		"br_netfilter": func(h *fakeHost, _ *policy.Attachment) { h.links.filtered = 0 },
		"br2.5":        func(h *fakeHost, _ *policy.Attachment) { h.vlan("br2", "br2.5", "10.2.0.2") },
		"no iptables": func(h *fakeHost, _ *policy.Attachment) {
			h.drivers[policy.Filter].families, h.drivers[policy.Filter].lacks = 0, errors.New("no iptables")
		},
		"no such policy": func(_ *fakeHost, a *policy.Attachment) { a.IngressPolicy = policy.IsolatedStrict },
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, policy.NFTables)
			prepare(h, &a)
			h.add(a)
			before := h.rules()
			wrong(t, "retire", h.engine().Retire(false), words)
			if got := h.rules(); got != before || len(h.records()) != 2 {
				t.Errorf("got %s, records %v", got, h.records())
			}
			ok(t, h.engine().Retire(true))
			if h.drivers[policy.Table].holds.String() != "" || len(h.records()) > 0 || h.port("br2", "c2").Isolated {
				t.Errorf("forced: left %s, records %v", h.rules(), h.records())
			}
		})
	}
}

// TestRetireInterrupted repeats what died halfway: nothing opens meanwhile.
func TestRetireInterrupted(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	a.IngressPolicy = policy.SameBridge
	h.add(a)
	h.refuse("apply iptables")
	wrong(t, "retire", h.engine().Retire(false), "refused")
	if got := h.rules(); got != "nftables: br1 same-bridge, br2 same-bridge, 10.1.0.2, 10.2.0.2" || len(h.records()) != 2 {
		t.Errorf("got %s, records %v", got, h.records())
	}
	h.before = nil
	ok(t, h.engine().Retire(false))
}
