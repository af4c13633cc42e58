// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// attached returns an attachment of a network with a bridge of the same name.
func attached(
	backend policy.Backend, bridge, container string, p policy.IngressPolicy, address string,
) policy.Attachment {
	return policy.Attachment{
		Network: bridge, ContainerID: container, IfName: "eth0",
		Bridge: bridge, Port: portOf(bridge, container),
		Addresses:     []netip.Prefix{netip.MustParsePrefix(address + "/32")},
		IngressPolicy: p, PublishedPorts: policy.Allow,
		Backend: backend, AdminChain: "CNI-ADMIN", Zone: "trusted",
	}
}

// twoBridges is a host with a container on an isolated bridge, and a port on
// another one, whose container is returned.
func twoBridges(t *testing.T, backend policy.Backend) (*fakeHost, policy.Attachment) {
	t.Helper()
	h := newHost(t)
	h.plug("br1", "c1")
	h.plug("br2", "c2")
	h.add(attached(backend, "br1", "c1", policy.SameBridge, "10.1.0.2"))
	h.took()
	return h, attached(backend, "br2", "c2", policy.Isolated, "10.2.0.2")
}

// TestOrder states the promise: a record, isolation, what is accepted; and the
// other way round.
func TestOrder(t *testing.T) {
	t.Parallel()
	isolation := "br1 same-bridge, br2 isolated, "
	for backend, want := range map[policy.Backend]struct{ add, del []string }{
		policy.IPTables: {
			[]string{
				"apply nftables: " + strings.TrimSuffix(isolation, ", "),
				"apply iptables: " + isolation + "10.1.0.2, 10.2.0.2", "deliver",
			},
			[]string{"set br2.c2 up false", "remove iptables: br1 same-bridge, 10.1.0.2", "remove nftables: br1 same-bridge"},
		},
		policy.NFTables: {
			[]string{"apply nftables: " + isolation + "10.1.0.2, 10.2.0.2", "deliver"},
			[]string{"set br2.c2 up false", "remove nftables: br1 same-bridge, 10.1.0.2"},
		},
		policy.Firewalld: {
			[]string{"apply nftables: " + isolation + "10.1.0.2, 10.2.0.2", "apply firewalld: 10.1.0.2, 10.2.0.2", "deliver"},
			[]string{"set br2.c2 up false", "remove firewalld: 10.1.0.2", "remove nftables: br1 same-bridge, 10.1.0.2"},
		},
	} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, backend)
			h.before = func(step string) error {
				if len(h.records()) != 2 {
					t.Errorf("records at %q: %v", step, h.records())
				}
				return nil
			}
			h.add(a)
			if diff := cmp.Diff(want.add, h.took()); diff != "" {
				t.Errorf("ADD (-want +got):\n%s", diff)
			}
			ok(t, h.engine().Del(a))
			if diff := cmp.Diff(want.del, h.took()); diff != "" {
				t.Errorf("DEL (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"c1"}, h.records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMixedOrder has networks of all backends: every driver isolates every bridge,
// those that isolate ahead of the one that only opens.
func TestMixedOrder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for i, backend := range policy.Backends {
		bridge, container := fmt.Sprintf("br%d", i), fmt.Sprintf("c%d", i)
		h.plug(bridge, container)
		h.add(attached(backend, bridge, container, policy.SameBridge, fmt.Sprintf("10.0.0.%d", 2+i)))
	}
	want := "nftables: br0 same-bridge, br1 same-bridge, br2 same-bridge, 10.0.0.2, 10.0.0.4; " +
		"iptables: br0 same-bridge, br1 same-bridge, br2 same-bridge, 10.0.0.3; firewalld: 10.0.0.2"
	if got := h.rules(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, d := range h.drivers { // as a flush does
		d.holds = newHolding()
	}
	h.took()
	if r, err := h.engine().Restore(); err != nil || r != (Restored{3, 3, 0}) {
		t.Errorf("restored %+v, %v", r, err)
	}
	if got := h.rules(); got != want {
		t.Errorf("restored %s\nwant %s", got, want)
	}
	var order []string
	for _, step := range h.took() {
		order = append(order, strings.Fields(step)[1])
	}
	if diff := cmp.Diff([]string{"nftables:", "iptables:", "firewalld:"}, order); diff != "" {
		t.Errorf("restore (-want +got):\n%s", diff)
	}
}

var errRefused = errors.New("refused")

// refuse fails the steps that begin with some words.
func (h *fakeHost) refuse(words string) {
	h.before = func(step string) error {
		if strings.HasPrefix(step, words) {
			return errRefused
		}
		return nil
	}
}

// TestDriverRefuses has a driver refuse an ADD: nothing is trusted, and all is undone.
func TestDriverRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		backend policy.Backend
		refused string
		never   string
	}{
		{policy.IPTables, "apply iptables", ""},
		{policy.NFTables, "apply nftables", ""},
		{policy.Firewalld, "apply nftables", "apply firewalld"},
		{policy.Firewalld, "apply firewalld", ""},
		{policy.Firewalld, "deliver", ""},
	} {
		t.Run(string(test.backend)+", "+test.refused, func(t *testing.T) {
			t.Parallel()
			h, a := twoBridges(t, test.backend)
			before := h.rules()
			h.refuse(test.refused)
			if err := h.engine().Add(a, h.delivered); !errors.Is(err, errRefused) {
				t.Fatalf("got %v", err)
			}
			if steps := strings.Join(h.took(), "\n"); test.never != "" && strings.Contains(steps, test.never) {
				t.Errorf("opened: %s", steps)
			}
			if got := h.rules(); got != before {
				t.Errorf("left %s\nof   %s", got, before)
			}
			if diff := cmp.Diff([]string{"c1"}, h.records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// TestZoneRefuses has firewalld refuse a DEL: what may still be trusted stays
// isolated, and its record stays for the next call.
func TestZoneRefuses(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.Firewalld)
	h.add(a)
	before := h.rules()
	h.refuse("remove firewalld")
	if err := h.engine().Del(a); !errors.Is(err, errRefused) {
		t.Fatalf("got %v", err)
	}
	if got := h.rules(); got != before {
		t.Errorf("left %s\nof   %s", got, before)
	}
	if diff := cmp.Diff([]string{"c1", "c2"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	h.before = nil
	ok(t, h.engine().Del(a))
	if got := h.rules(); strings.Contains(got, "br2") || len(h.records()) != 1 {
		t.Errorf("left %s, records %v", got, h.records())
	}
}
