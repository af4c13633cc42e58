// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func withAddresses(a policy.Attachment, addresses ...string) policy.Attachment {
	a.Addresses = nil
	for _, text := range addresses {
		a.Addresses = append(a.Addresses, netip.MustParsePrefix(text))
	}
	return a
}

// TestReplaced adds a container a second time: what the record says and the new
// configuration does not, goes.
func TestReplaced(t *testing.T) {
	t.Parallel()
	first := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	for name, test := range map[string]struct {
		second policy.Attachment
		want   string
	}{
		"the same":        {first, "nftables: br1 same-bridge, 10.1.0.2"},
		"another address": {attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.3"), "nftables: br1 same-bridge, 10.1.0.3"},
		"one more": {
			withAddresses(first, "10.1.0.2/32", "fd00::2/128"),
			"nftables: br1 same-bridge, 10.1.0.2, fd00::2",
		},
		"no address":      {withAddresses(first), "nftables: br1 same-bridge"},
		"another backend": {attached(policy.IPTables, "br1", "c1", policy.SameBridge, "10.1.0.2"), "nftables: br1 same-bridge; iptables: br1 same-bridge, 10.1.0.2"},
		"backend and address": {
			attached(policy.IPTables, "br1", "c1", policy.SameBridge, "10.1.0.3"),
			"nftables: br1 same-bridge; iptables: br1 same-bridge, 10.1.0.3",
		},
		"another bridge": {attached(policy.NFTables, "br2", "c1", policy.SameBridge, "10.1.0.2"), "nftables: br2 same-bridge, 10.1.0.2"},
	} {
		for _, dies := range []bool{false, true} {
			h := newHost(t)
			h.plug(first.Bridge, "c1")
			h.add(first)
			second := test.second
			second.Network = first.Network
			if second.Bridge != first.Bridge {
				h.unplug(portOf(first.Bridge, "c1"))
				h.plug(second.Bridge, "c1")
			}
			if dies { // once the old rules were to go
				h.before = func(step string) error {
					if strings.HasPrefix(step, "remove") {
						return errRefused
					}
					return nil
				}
				_ = h.engine().Add(second, h.delivered)
				h.before = nil
			}
			h.add(second)
			if diff := cmp.Diff(test.want, h.rules()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if diff := cmp.Diff([]string{"c1"}, h.records()); diff != "" {
				t.Errorf("%s: records (-want +got):\n%s", name, diff)
			}
			ok(t, h.engine().Del(second))
			if h.rules() != "" || len(h.records()) > 0 {
				t.Errorf("%s: left %s, records %v", name, h.rules(), h.records())
			}
		}
	}
}

// TestGone has records of containers that another plugin deleted.
func TestGone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, name := range []string{"c1", "c2", "c3"} {
		h.plug("br1", name)
		h.add(attached(policy.NFTables, "br1", name, policy.SameBridge, "10.1.0."+name[1:]))
	}
	h.unplug(portOf("br1", "c1"))
	h.unplug(portOf("br1", "c2"))
	h.plug("br1", "c4")
	successor := attached(policy.NFTables, "br1", "c4", policy.SameBridge, "10.1.0.1")
	h.add(successor) // of c1's address
	if diff := cmp.Diff([]string{"c2", "c3", "c4"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	ok(t, h.engine().Del(successor))
	ok(t, h.engine().Del(attached(policy.NFTables, "br1", "c3", policy.SameBridge, "10.1.0.3")))
	if h.rules() != "" || len(h.records()) > 0 {
		t.Errorf("left %s, records %v", h.rules(), h.records())
	}
}
