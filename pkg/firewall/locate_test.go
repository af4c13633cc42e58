// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// vlan makes an interface of the host that stands on a bridge, and routes to an address.
func (h *fakeHost) vlan(bridge, name, address string) {
	h.next++
	h.links.links[name] = link.Link{Index: h.next, Name: name, Kind: "vlan", LowerIndex: h.links.links[bridge].Index}
	h.links.routes[netip.MustParseAddr(address)] = name
}

// TestLocated has every kind of interface that can lead to a container.
func TestLocated(t *testing.T) {
	t.Parallel()
	const address = "10.1.0.2"
	at := netip.MustParseAddr(address)
	for name, test := range map[string]struct {
		host   func(*fakeHost)
		listed []string
		want   policy.Attachment // Bridge and Interfaces
		strays []string
	}{
		"the bridge": {
			host: func(h *fakeHost) { h.links.routes[at] = "br1" },
			want: policy.Attachment{Bridge: "br1"},
		},
		"no route": {want: policy.Attachment{Bridge: "br1"}},
		"a VLAN on the bridge": {
			host: func(h *fakeHost) { h.vlan("br1", "br1.5", address) },
			want: policy.Attachment{Bridge: "br1", Interfaces: []string{"br1.5"}},
		},
		"a veth on a port of the bridge": {
			host: func(h *fakeHost) {
				h.plug("br1", "gw")
				h.vlan("br1", "br1.6", address)
				gateway := h.links.links["br1.6"]
				gateway.LowerIndex = h.port("br1", "gw").Index
				h.links.links["br1.6"] = gateway
			},
			want: policy.Attachment{Bridge: "br1", Interfaces: []string{"br1.6"}},
		},
		"one that prevResult names": {
			host:   func(h *fakeHost) { h.plug("gate", "x"); h.links.routes[at] = "gate" },
			listed: []string{"gate", "other"},
			want:   policy.Attachment{Bridge: "br1", Interfaces: []string{"gate"}},
		},
		"one that prevResult names, and that does not route": {
			listed: []string{"gate"},
			want:   policy.Attachment{Bridge: "br1"},
		},
		"somebody else's": {
			host:   func(h *fakeHost) { h.plug("eth0", "x"); h.links.routes[at] = "eth0" },
			want:   policy.Attachment{Bridge: "br1"},
			strays: []string{"eth0"},
		},
		"a VRF": {
			host: func(h *fakeHost) {
				h.links.links["red"] = link.Link{Index: 99, Name: "red", Kind: "vrf"}
				bridge := h.links.links["br1"]
				bridge.MasterIndex = 99
				h.links.links["br1"] = bridge
			},
			want: policy.Attachment{Bridge: "br1", Interfaces: []string{"red"}},
		},
		"a renamed bridge": {
			host: func(h *fakeHost) { h.rename("br1", "new") },
			want: policy.Attachment{Bridge: "new"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.plug("br1", "c1")
			if test.host != nil {
				test.host(h)
			}
			a := attached(policy.IPTables, "br1", "c1", policy.SameBridge, address)
			a.Interfaces = test.listed
			got, strays, err := h.engine().located(a)
			ok(t, err)
			got = policy.Attachment{Bridge: got.Bridge, Interfaces: got.Interfaces}
			if diff := cmp.Diff(test.want, got); diff != "" || !slices.Equal(test.strays, strays) {
				t.Errorf("strays %v (-want +got):\n%s", strays, diff)
			}
		})
	}
}

// TestGroups has two VLANs on one bridge: they are two networks, and one's end leaves
// the other.
func TestGroups(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.plug("br", "c5")
	h.plug("br", "c6")
	h.vlan("br", "br.5", "10.5.0.2")
	h.vlan("br", "br.6", "10.6.0.2")
	five := attached(policy.NFTables, "br", "c5", policy.SameBridge, "10.5.0.2")
	six := attached(policy.NFTables, "br", "c6", policy.SameBridge, "10.6.0.2")
	six.Network = "six"
	h.add(five)
	h.add(six)
	if got, want := h.rules(), "nftables: br same-bridge, br.5 same-bridge, br.6 same-bridge, 10.5.0.2, 10.6.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	ok(t, h.engine().Check(five))
	ok(t, h.engine().Del(six))
	if got, want := h.rules(), "nftables: br same-bridge, br.5 same-bridge, 10.5.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if h.port("br", "c6").Up || !h.port("br", "c5").Up {
		t.Error("the port that lost its isolation is up, or the other one is down")
	}
	ok(t, h.engine().Del(five))
	if got := h.rules(); got != "" {
		t.Errorf("left %s", got)
	}
}

// TestLinkLocal has an address to which every interface has a route, the first of them one
// of another network.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	address := netip.MustParsePrefix("fe80::2/128")
	h.links.routes[address.Addr()] = "br1"
	a.Addresses = append(a.Addresses, address)
	ok(t, h.engine().Add(a, h.delivered))
	ok(t, h.engine().Check(a))
}

// TestUnnamed has interfaces whose name a rule would read as something else, and which
// only the kernel tells: the bridge under its own name, and the route. Only iptables
// without a bridge needs no name.
func TestUnnamed(t *testing.T) {
	t.Parallel()
	for _, backend := range policy.Backends {
		h := newHost(t)
		h.plug("br1", "c1")
		h.rename("br1", "br+")
		h.plug("veth+", "c2")
		bridged := attached(backend, "br1", "c1", policy.Open, "10.1.0.2")
		routed := attached(backend, "", "c2", policy.Open, "10.2.0.2")
		h.links.routes[routed.Addresses[0].Addr()] = "veth+"
		for _, a := range []policy.Attachment{bridged, routed} {
			add, check := h.engine().Add(a, h.delivered), h.engine().Check(a)
			if a.Bridge == "" && backend == policy.IPTables {
				ok(t, errors.Join(add, check))
				continue
			}
			for _, err := range []error{add, check} {
				wrong(t, string(backend), err, "+\" ends in '+'")
				if !IsConfiguration(err) {
					t.Errorf("%s: %v is not the configuration's", backend, err)
				}
			}
		}
		ok(t, h.engine().Del(routed))
		if h.rules() != "" || len(h.records()) > 0 {
			t.Errorf("%s: left %s, %v", backend, h.rules(), h.records())
		}
	}
}

// TestRenamedBeyondNames has a bridge renamed under a container to what no rule can name:
// the rules and the record stay with the old name, and a warning says why.
func TestRenamedBeyondNames(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	before := h.rules()
	h.rename(a.Bridge, "br+")
	other := attached(policy.NFTables, "br1", "c9", policy.SameBridge, "10.1.0.9")
	h.plug("br1", "c9")
	h.add(other)
	if got := h.rules(); got != before+", 10.1.0.9" && !strings.Contains(got, "10.1.0.9") || strings.Contains(got, "+") {
		t.Errorf("got %s, and before %s", got, before)
	}
	if !slices.ContainsFunc(h.warned, func(w string) bool { return strings.Contains(w, "ends in '+'") }) {
		t.Errorf("warned of %q", h.warned)
	}
}

// TestOverlap refuses a network whose addresses lead into another one.
func TestOverlap(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.links.routes[a.Addresses[0].Addr()] = "br1"
	wrong(t, "ADD", h.engine().Add(a, h.delivered), `the host routes to this container by "br1"`)
	if got := h.rules(); got != "nftables: br1 same-bridge, 10.1.0.2" || len(h.records()) != 1 {
		t.Errorf("got %s, records %v", got, h.records())
	}
}

// TestEntriesAddUp has two entries of one conflist, in both orders: what either
// blocks is blocked, whoever else is added, and each one's CHECK passes.
func TestEntriesAddUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		order []policy.IngressPolicy
		want  policy.IngressPolicy
	}{
		"the open one last":  {[]policy.IngressPolicy{policy.SameBridge, policy.Open}, policy.SameBridge},
		"the open one first": {[]policy.IngressPolicy{policy.Open, policy.SameBridge}, policy.SameBridge},
		"three":              {[]policy.IngressPolicy{policy.SameBridge, policy.Isolated, policy.Open}, policy.Isolated},
		"two of a kind":      {[]policy.IngressPolicy{policy.Strict, policy.Isolated}, policy.IsolatedStrict},
	} {
		order := test.order
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			for i, container := range []string{"c1", "c2"} {
				h.plug("br1", container)
				for n, p := range order {
					a := attached(policy.NFTables, "br1", container, p, "10.1.0."+string(rune('2'+i)))
					h.add(a)
					got := h.drivers[policy.Table].holds.isolated["br1"]
					if (i > 0 || n == len(order)-1) && got != test.want {
						t.Errorf("after %s's entry %q: br1 is %q, want %q", container, p, got, test.want)
					}
				}
			}
			for _, p := range order {
				ok(t, h.engine().Check(attached(policy.NFTables, "br1", "c1", p, "10.1.0.2")))
			}
			ok(t, h.engine().Status("net", policy.NFTables, policy.SameBridge))
			for range order {
				ok(t, h.engine().Del(attached(policy.NFTables, "br1", "c1", order[0], "10.1.0.2")))
				ok(t, h.engine().Del(attached(policy.NFTables, "br1", "c2", order[0], "10.1.0.3")))
			}
			if got := h.rules(); got != "" || len(h.records()) > 0 {
				t.Errorf("left %s, %v", got, h.records())
			}
		})
	}
}
