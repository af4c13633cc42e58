// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// rebooted is a host whose last boot's rules were brought back: of br1, which does not
// exist yet, and of br2, where an earlier plugin has a container; of addresses on br4, where
// nobody is, and br2, of one that is routed nowhere, and of one on the host's own network.
func rebooted(t *testing.T, driver policy.DriverName) *fakeHost {
	t.Helper()
	h := newHost(t)
	h.plug("br2", "foreign")
	h.links.links["br4"] = link.Link{Index: 98, Name: "br4", Kind: "bridge", Up: true}
	h.links.links["lan0"] = link.Link{Index: 99, Name: "lan0", Kind: "veth", PeerAway: true, Up: true}
	for address, by := range map[string]string{"10.1.0.2": "br4", "10.2.0.2": "br2", "10.9.0.2": "", "192.0.2.7": "lan0"} {
		h.links.routes[netip.MustParseAddr(address)] = by
		h.drivers[driver].holds.accepted[netip.MustParsePrefix(address+"/32")] = true
	}
	h.drivers[driver].holds.isolated["br1"] = policy.SameBridge
	h.drivers[driver].holds.isolated["br2"] = policy.Isolated
	return h
}

// TestUnowned has restore, and the first ADD, remove what nobody owns, and adopt the rest.
// Where a container without a record runs, an address that leads nowhere may be its.
func TestUnowned(t *testing.T) {
	t.Parallel()
	calls := map[string]func(h *fakeHost){
		"restore": func(h *fakeHost) {
			_, err := h.engine().Restore()
			ok(h.t, err)
		},
		"ADD": func(h *fakeHost) {
			h.plug("br5", "c5")
			a := attached(policy.IPTables, "br5", "c5", policy.SameBridge, "10.5.0.2")
			h.add(a)
			ok(h.t, h.engine().Del(a))
		},
	}
	for name, call := range calls {
		for _, driver := range []policy.DriverName{policy.Filter, policy.Table} {
			h := rebooted(t, driver)
			call(h)
			left := h.drivers[driver].holds.String()
			if want := "br2 isolated, 10.2.0.2, 10.9.0.2, 192.0.2.7"; left != want {
				t.Errorf("%s, %s: left %s, want %s", name, driver, left, want)
			}
			h.unplug(portOf("br2", "foreign"))
			call(h)
			if left := h.drivers[driver].holds.String(); left != "192.0.2.7" {
				t.Errorf("%s, %s: left %s without containers", name, driver, left)
			}
		}
	}
}

// TestUnownedUnknown leaves everything alone where a record, or the kernel, does not tell
// who owns it.
func TestUnownedUnknown(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(h *fakeHost){
		"a record of a newer version": func(h *fakeHost) {
			dirs, _ := filepath.Glob(h.dataDir + "/*")
			ok(t, os.WriteFile(filepath.Join(dirs[0], "9,x.json"), nil, 0o600))
		},
		"no links": func(h *fakeHost) { h.links.err = errRefused },
	} {
		h := rebooted(t, policy.Filter)
		_, err := h.engine().Restore() // makes the directory
		ok(t, err)
		h.drivers[policy.Filter].holds = rebooted(t, policy.Filter).drivers[policy.Filter].holds
		before := h.drivers[policy.Filter].holds.String()
		damage(h)
		_, _ = h.engine().Restore()
		if diff := cmp.Diff(before, h.drivers[policy.Filter].holds.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAnotherBackend has the rules of an earlier plugin that a container of another
// backend needs no more.
func TestAnotherBackend(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.plug("br1", "c1")
	h.plug("br1", "foreign")
	filter := h.drivers[policy.Filter]
	filter.holds.foreign["br1"] = true
	for _, address := range []string{"10.1.0.2/32", "10.1.0.3/32"} {
		filter.holds.accepted[netip.MustParsePrefix(address)] = true
		h.links.routes[netip.MustParsePrefix(address).Addr()] = "br1"
	}
	h.add(attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2"))
	if got := filter.holds.String(); got != "10.1.0.3" {
		t.Errorf("iptables holds %q: the bridge is isolated in the table, and c1's address is accepted there", got)
	}
	if got := strings.Join(h.warned, "\n"); got != "" {
		t.Error(got)
	}
}

// TestSurveyStrays has status tell what no record tells of, and restore cure it.
func TestSurveyStrays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		host func() *fakeHost
		want string
	}{
		"of the last boot": {func() *fakeHost {
			h := rebooted(t, policy.Table)
			h.unplug(portOf("br2", "foreign"))
			return h
		}, "nftables holds rules without an owner: address 10.1.0.2, address 10.2.0.2, address 10.9.0.2, bridge br1, bridge br2"},
		"isolated by another plugin": {func() *fakeHost {
			h := newHost(t)
			h.plug("br1", "c1")
			h.drivers[policy.Filter].holds.foreign["br1"] = true
			return h
		}, `bridge "br1" is isolated by another plugin alone`},
		"deleted by another plugin": {func() *fakeHost {
			h, _ := twoBridges(t, policy.NFTables)
			h.unplug(portOf("br1", "c1"))
			h.drivers[policy.Table].holds = newHolding()
			return h
		}, `container "c1" of network "br1" was deleted without this plugin`},
	} {
		h := test.host()
		v, err := h.engine().Survey()
		ok(t, err)
		if name == "isolated by another plugin" { // whose rules are in force
			v.Problems, v.Warnings = v.Warnings, v.Problems
		}
		if len(v.Warnings) > 0 || len(v.Problems) != 1 || !strings.HasSuffix(v.Problems[0].Problem, test.want) || v.Problems[0].Cure != "cni-firewall restore --data-dir "+h.dataDir {
			t.Errorf("%s: got %v, want %s", name, v.Problems, test.want)
		}
		if err := h.engine().Status("net", "", policy.SameBridge); err != nil {
			t.Errorf("%s: STATUS: %v", name, err)
		}
		_, err = h.engine().Restore()
		ok(t, err)
		if v, err := h.engine().Survey(); err != nil || len(v.Problems)+len(v.Warnings) > 0 {
			t.Errorf("%s: after restore: %v, %v", name, v, err)
		}
	}
}

// TestMixedOwned has two networks with different backends: every driver in use isolates
// the bridges of both.
func TestMixedOwned(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.plug("br1", "c1")
	h.plug("br2", "c2")
	h.add(attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2"))
	h.add(attached(policy.IPTables, "br2", "c2", policy.SameBridge, "10.2.0.2"))
	before := h.drivers[policy.Filter].holds.String()
	if !strings.Contains(before, "br1") {
		t.Fatalf("iptables holds %s", before)
	}
	v, err := h.engine().Survey()
	ok(t, err)
	if len(v.Problems) > 0 {
		t.Errorf("status: %v", v.Problems)
	}
	_, err = h.engine().Restore()
	ok(t, err)
	if after := h.drivers[policy.Filter].holds.String(); after != before {
		t.Errorf("restore left %s of %s", after, before)
	}
}
