// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// adopting is a host whose bridges upstream's plugin isolates by iptables: br1 has a
// container, br2 nobody. The host runs firewalld.
func adopting(t *testing.T) *fakeHost {
	t.Helper()
	h := newHost(t)
	h.plug("br1", "c1")
	h.drivers[policy.Filter].holds.foreign["br1"] = true
	h.drivers[policy.Filter].holds.foreign["br2"] = true
	return h
}

// TestAdopt closes in the new place before anything goes from the old one.
func TestAdopt(t *testing.T) {
	t.Parallel()
	h := adopting(t)
	r, err := h.engine().Restore()
	ok(t, err)
	if want := (Restored{0, 1, 1}); r != want {
		t.Errorf("restored %+v", r)
	}
	want := []string{"apply nftables: br1 same-bridge", "remove iptables: foreign br1"}
	if diff := cmp.Diff(want, h.took()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}

	// Its own ADD takes the place of what was adopted; the last DEL leaves nothing.
	a := attached(policy.Firewalld, "br1", "c1", policy.Isolated, "10.1.0.2")
	h.add(a)
	if got := h.rules(); !strings.Contains(got, "nftables: br1 isolated, 10.1.0.2") {
		t.Errorf("after ADD: %s", got)
	}
	if diff := cmp.Diff([]string{"c1"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	ok(t, h.engine().Del(a))
	if got := h.rules(); strings.Contains(got, "10.1.0.2") || strings.Contains(got, "nftables") {
		t.Errorf("left %s", got)
	}
}

// TestAdoptFails leaves the rules of the other plugin alone: they may be all that
// isolates.
func TestAdoptFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(h *fakeHost){
		"the table refuses":       func(h *fakeHost) { h.refuse("apply nftables") },
		"iptables cannot be read": func(h *fakeHost) { h.drivers[policy.Filter].unread = errRefused },
		"firewalld hangs":         func(h *fakeHost) { h.drivers[policy.Zones].unread = firewalld.ErrNoAnswer },
		"links cannot be read":    func(h *fakeHost) { h.links.err = errRefused },
	} {
		h := adopting(t)
		fail(h)
		if _, err := h.engine().Restore(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := h.drivers[policy.Filter].holds.String(); got != "foreign br1, foreign br2" {
			t.Errorf("%s: left %q", name, got)
		}
	}
}

// TestAdoptNothing has no iptables, or no other plugin's rules.
func TestAdoptNothing(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	h.drivers[policy.Filter].families = 0
	h.drivers[policy.Filter].lacks = errors.New("no iptables")
	if r, err := h.engine().Restore(); err != nil || r != (Restored{1, 1, 0}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAdoptedUnused has nobody on an adopted bridge any more.
func TestAdoptedUnused(t *testing.T) {
	t.Parallel()
	h := adopting(t)
	_, err := h.engine().Restore()
	ok(t, err)
	v, err := h.engine().Survey()
	ok(t, err)
	if len(v.Networks) != 1 || v.Networks[0].Name != AdoptedNetwork || len(v.Networks[0].Containers) > 0 {
		t.Fatalf("got %+v", v.Networks)
	}
	h.unplug(portOf("br1", "c1"))
	_, err = h.engine().Restore()
	ok(t, err)
	if got := h.rules(); got != "" || len(h.records()) > 0 {
		t.Errorf("left %s, records %v", got, h.records())
	}
}

// TestAddAdopts adds a container on a host whose bridges upstream's plugin isolates by
// iptables, and ours does not.
func TestAddAdopts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		added policy.Attachment
		want  []string
	}{
		"on another bridge": {attached(policy.NFTables, "br3", "c3", policy.SameBridge, "10.3.0.2"), []string{
			"apply nftables: br1 same-bridge, br3 same-bridge, 10.3.0.2", "deliver", "remove iptables: foreign br1",
		}},
		"open": {attached(policy.NFTables, "br3", "c3", policy.Open, "10.3.0.2"), []string{
			"apply nftables: br1 same-bridge, 10.3.0.2", "deliver", "remove iptables: foreign br1",
		}},
		"on its bridge": {attached(policy.NFTables, "br1", "c3", policy.SameBridge, "10.1.0.3"), []string{
			"apply nftables: br1 same-bridge, 10.1.0.3", "deliver", "remove iptables: ",
		}},
		"by iptables": {attached(policy.IPTables, "br1", "c3", policy.SameBridge, "10.1.0.3"), []string{
			"apply nftables: br1 same-bridge", "apply iptables: br1 same-bridge, 10.1.0.3, foreign br1, foreign br2",
			"deliver", "remove iptables: br1 same-bridge, 10.1.0.3, foreign br1",
		}},
	} {
		h := adopting(t)
		h.plug(test.added.Bridge, "c3")
		h.add(test.added)
		if diff := cmp.Diff(test.want, h.took()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAdoptedCheck has the standalone plugin's CHECK find what was adopted.
func TestAdoptedCheck(t *testing.T) {
	t.Parallel()
	h := adopting(t)
	_, err := h.engine().Restore()
	ok(t, err)
	a := policy.Attachment{
		Network: "br1/isolation", ContainerID: "c1", IfName: "eth0", Bridge: "br1",
		IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow,
	}
	wrong(t, "CHECK", h.engine().Check(a), "")
	delete(h.drivers[policy.Table].holds.isolated, "br1")
	wrong(t, "CHECK", h.engine().Check(a), "bridge br1 is not same-bridge")
}
