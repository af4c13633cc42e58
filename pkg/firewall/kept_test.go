// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// keeping is a host whose only recorded container was deleted from a bridge with a port
// that may be another container's.
func keeping(t *testing.T, b policy.Backend, p policy.IngressPolicy) *fakeHost {
	t.Helper()
	h := newHost(t)
	h.plug("br1", "stranger")
	a := attached(b, "br1", "c1", p, "10.1.0.2")
	h.add(a)
	ok(t, h.engine().Del(a))
	h.unplug(portOf("br1", "c1"))
	return h
}

// warnings returns what a survey warns of.
func warnings(t *testing.T, h *fakeHost) string {
	t.Helper()
	v, err := h.engine().Survey()
	ok(t, err)
	if !v.InForce() {
		t.Errorf("problems: %q", v.Problems)
	}
	var all []string
	for _, p := range v.Warnings {
		all = append(all, p.Problem)
	}
	return strings.Join(all, "\n")
}

// TestKept keeps a bridge isolated for the sake of a port, says so, restores it after a
// flush, and removes it once the port is gone.
func TestKept(t *testing.T) {
	t.Parallel()
	for _, b := range policy.Backends {
		for _, p := range []policy.IngressPolicy{policy.SameBridge, policy.Isolated} {
			h := keeping(t, b, p)
			isolated := "nftables: br1 " + string(p)
			if got := h.rules(); !strings.Contains(got, isolated) || strings.Contains(got, "10.1.0.2") {
				t.Errorf("%s: left %s", b, got)
			}
			if got := warnings(t, h); !strings.Contains(got, `bridge "br1" stays isolated: its port "br1.stranger" is left`) {
				t.Errorf("%s: %s", b, got)
			}
			delete(h.drivers[policy.Table].holds.isolated, "br1")
			_, err := h.engine().Restore()
			ok(t, err)
			if got := h.rules(); !strings.Contains(got, isolated) {
				t.Errorf("%s: restored %s", b, got)
			}
			h.unplug(portOf("br1", "stranger"))
			if got := warnings(t, h); !strings.Contains(got, "no port is left") {
				t.Errorf("%s: %s", b, got)
			}
			_, err = h.engine().Restore()
			ok(t, err)
			if got, left := h.rules(), h.records(); strings.Contains(got, "br1") || len(left) > 0 {
				t.Errorf("%s: left %s, %v", b, got, left)
			}
			if got := warnings(t, h); got != "" {
				t.Errorf("%s: in the end: %s", b, got)
			}
		}
	}
}

// TestKeptForNobody keeps nothing for ports that no container can have.
func TestKeptForNobody(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]link.Link{
		"a tap":                      {Kind: "tun"},
		"a VXLAN":                    {Kind: "vxlan"},
		"an uplink":                  {},
		"a veth to the host itself":  {Kind: "veth", LowerIndex: 99},
		"a veth of the plugin's own": {Kind: "veth", PeerAway: true, Name: portOf("br1", "c1")},
	} {
		h := newHost(t)
		h.plug("br1", "c1")
		if l.Name == "" {
			h.next++
			l.Index, l.Name, l.MasterIndex = h.next, "port", h.links.links["br1"].Index
			h.links.links["port"] = l
		}
		a := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
		h.add(a)
		ok(t, h.engine().Del(a))
		if got, left := h.rules(), h.records(); strings.Contains(got, "br1") || len(left) > 0 {
			t.Errorf("%s: left %s, %v", name, got, left)
		}
	}
}

// TestKeptUntilAdd has a container come to a bridge that was kept, under another policy.
// The configuration holds, and the last DEL keeps the bridge again.
func TestKeptUntilAdd(t *testing.T) {
	t.Parallel()
	for _, p := range policy.IngressPolicies {
		h := keeping(t, policy.NFTables, policy.SameBridge)
		b := attached(policy.NFTables, "br1", "c2", p, "10.1.0.3")
		h.plug("br1", "c2")
		h.add(b)
		want := "nftables: br1 " + string(p) + ", 10.1.0.3"
		if p == policy.Open {
			want = "nftables: 10.1.0.3"
		}
		if got := h.rules(); got != want {
			t.Errorf("%s: got %s", p, got)
		}
		if diff := cmp.Diff([]string{"c2"}, h.records()); diff != "" {
			t.Errorf("%s: records %s", p, diff)
		}
		ok(t, h.engine().Del(b))
		if got := len(h.records()); (got == 1) != p.Isolates() {
			t.Errorf("%s: %d records in the end", p, got)
		}
	}
}

// TestKeptByRecord records nothing as long as somebody recorded is on the bridge.
func TestKeptByRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.plug("br1", "stranger")
	a := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	h.add(a)
	other := attached(policy.NFTables, "br1", "c2", policy.SameBridge, "10.1.0.3")
	h.plug("br1", "c2")
	h.add(other)
	ok(t, h.engine().Del(a))
	if diff := cmp.Diff([]string{"c2"}, h.records()); diff != "" {
		t.Errorf("somebody recorded is left: %s", diff)
	}
}

// countedLinks counts how often the kernel is asked for a bridge's ports.
type countedLinks struct {
	fakeLinks
	asked *int
}

func (l countedLinks) Ports(bridge link.Link) ([]link.Link, error) {
	*l.asked++
	return l.fakeLinks.Ports(bridge)
}

// TestKeptAsksOnce expects a GC to ask for the ports of a bridge as often, however many
// containers go with it.
func TestKeptAsksOnce(t *testing.T) {
	t.Parallel()
	asked := map[int]int{}
	for _, containers := range []int{2, 8} {
		h := newHost(t)
		for i := range containers {
			id := fmt.Sprint("c", i)
			h.plug("br1", id)
			h.add(attached(policy.NFTables, "br1", id, policy.SameBridge, fmt.Sprint("10.1.0.", 2+i)))
		}
		count, e := 0, h.engine()
		e.storage.links = countedLinks{h.links, &count}
		e.ports.links = e.storage.links
		ok(t, e.GC("br1", nil))
		if left := h.records(); len(left) > 0 {
			t.Fatalf("left %v", left)
		}
		asked[containers] = count
	}
	if asked[2] == 0 || asked[2] != asked[8] {
		t.Errorf("asked %v", asked)
	}
}
