// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// TestGC removes what the runtime no longer knows, of its own network alone.
func TestGC(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	h.plug("br2", "c3")
	h.add(attached(policy.NFTables, "br2", "c3", policy.Isolated, "10.2.0.3"))
	c2, c3 := policy.Owner{ContainerID: "c2", IfName: "eth0"}, policy.Owner{ContainerID: "c3", IfName: "eth0"}
	for _, test := range []struct {
		network string
		valid   []policy.Owner
		want    []string
	}{
		{"another", nil, []string{"c1", "c2", "c3"}},
		{"br2", []policy.Owner{c2, c3}, []string{"c1", "c2", "c3"}},
		{"br2", []policy.Owner{c3, {ContainerID: "c2", IfName: "eth1"}}, []string{"c1", "c3"}},
		{"br2", nil, []string{"c1"}},
	} {
		ok(t, h.engine().GC(test.network, test.valid))
		if diff := cmp.Diff(test.want, h.records()); diff != "" {
			t.Errorf("GC of %s, %v (-want +got):\n%s", test.network, test.valid, diff)
		}
	}
	if got := h.rules(); got != "nftables: br1 same-bridge, 10.1.0.2" {
		t.Errorf("left %s", got)
	}
}

// TestOthersOnBridge keeps the isolation of a bridge while anybody else is on it:
// a container of another plugin has a port, and no record.
func TestOthersOnBridge(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.plug("br2", "stranger")
	h.add(a)
	ok(t, h.engine().Del(a))
	if got := h.rules(); got != "nftables: br1 same-bridge, br2 isolated, 10.1.0.2" {
		t.Errorf("left %s", got)
	}
	// The stranger goes, and c2's port with it.
	h.unplug(portOf("br2", "stranger"))
	ok(t, h.engine().Del(a))
	if got := h.rules(); got != "nftables: br1 same-bridge, 10.1.0.2" {
		t.Errorf("left %s", got)
	}
}

// TestUnrecorded deletes a container that upstream's plugin added: whatever driver
// the host has may hold something of it.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := attached("", "br1", "c1", policy.SameBridge, "10.1.0.2")
	for _, d := range h.drivers {
		d.holds.accepted[a.Addresses[0]] = true
	}
	h.drivers[policy.Filter].holds.foreign["br1"] = true
	h.drivers[policy.Zones].lacks, h.drivers[policy.Zones].families = firewalld.ErrNotRunning, 0
	ok(t, h.engine().Del(a))
	if got := h.rules(); got != "firewalld: 10.1.0.2" { // which went with firewalld
		t.Errorf("left %s", got)
	}
}

// TestWithoutProgram deletes while the program of the driver is missing: DEL succeeds,
// and the record stays for a call that finds the program.
func TestWithoutProgram(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.IPTables)
	a := attached(policy.IPTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	h.drivers[policy.Filter].families, h.drivers[policy.Filter].lacks = 0, errors.New("no iptables")
	ok(t, h.engine().Del(a))
	if len(h.records()) != 1 || len(h.warned) == 0 {
		t.Fatalf("records %v, warned %v", h.records(), h.warned)
	}
	h.drivers[policy.Filter].families = policy.BothFamilies
	ok(t, h.engine().Del(a))
	if h.rules() != "" || len(h.records()) > 0 {
		t.Errorf("left %s, records %v", h.rules(), h.records())
	}
}

// TestStale has records of a bridge, and of a port, that no longer exist. The record of a
// port that lives is never stale.
func TestStale(t *testing.T) {
	t.Parallel()
	port := portOf("br2", "c2")
	for gone, left := range map[string]string{
		"br2 " + port: "", // any call removes it
		port:          "c2",
		"br2":         "c2",
		"br2.none":    "c2",
	} {
		h, a := twoBridges(t, policy.NFTables)
		h.add(a)
		for name := range strings.FieldsSeq(gone) {
			h.unplug(name)
		}
		one := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
		ok(t, h.engine().Del(one))
		if got := strings.Join(h.records(), " "); got != left {
			t.Errorf("%s is gone: DEL leaves %q, want %q", gone, got, left)
		}
		_, err := h.engine().Restore()
		ok(t, err)
		if got := strings.Join(h.records(), " "); (got == "") != strings.Contains(gone, port) {
			t.Errorf("%s is gone: restore leaves %q", gone, got)
		}
	}
}

// file returns the path of the only record.
func (h *fakeHost) file(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(h.dataDir + "/*/2,*.json")
	if err != nil || len(found) != 1 {
		t.Fatalf("records %q, %v", found, err)
	}
	return found[0]
}

// TestDamagedRecord has a record that cannot be read: its addresses are closed, its
// bridge stays isolated, and no DEL fails for it.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	ok(t, os.WriteFile(h.file(t), []byte("{"), 0o600))
	a := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	ok(t, h.engine().Del(a))
	if got := h.rules(); got != "nftables: br1 same-bridge" || len(h.warned) == 0 {
		t.Errorf("left %s, warned %q", got, h.warned)
	}
	if _, err := h.engine().Restore(); err == nil || !strings.Contains(err.Error(), h.file(t)) {
		t.Errorf("restore: %v", err)
	}
	if got := h.rules(); got != "nftables: br1 same-bridge" {
		t.Errorf("restored %s", got)
	}
}

// TestUnknownBackend has the record of a version with another backend. It is left
// alone, and no call for others fails because of it.
func TestUnknownBackend(t *testing.T) {
	t.Parallel()
	h, b := twoBridges(t, policy.NFTables)
	a := attached("ebpf", "br3", "c3", policy.SameBridge, "10.3.0.2")
	h.plug("br3", "c3")
	s, err := store.Open(h.dataDir)
	ok(t, err)
	ok(t, s.Put(a, nil))
	h.add(b)
	if got := h.rules(); !strings.Contains(got, "br3 same-bridge") {
		t.Errorf("its bridge is not isolated: %s", got)
	}
	h.unplug("br3")
	h.unplug(portOf("br3", "c3"))
	for _, gone := range []policy.Attachment{b, {Network: "br3", ContainerID: "c3", IfName: "eth0"}} {
		h.warned = nil
		ok(t, h.engine().Del(gone))
		if warned := strings.Join(h.warned, "\n"); !strings.Contains(warned, `backend "ebpf" of a record is unknown`) {
			t.Errorf("DEL of %s warned %q", gone.ContainerID, warned)
		}
	}
	if diff := cmp.Diff([]string{"c1", "c3"}, h.records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	_, err = h.engine().Restore()
	wrong(t, "restore", err, `backend "ebpf"`)

	// Its own ADD, in a backend of this version, does not make it forgotten either.
	h.plug("br3", "c3")
	h.add(attached(policy.NFTables, "br3", "c3", policy.SameBridge, "10.3.0.2"))
	if diff := cmp.Diff([]string{"c1", "c3", "c3"}, h.records()); diff != "" {
		t.Errorf("records after its ADD (-want +got):\n%s", diff)
	}
}

// TestNoStore has no place for records: an ADD changes nothing, and a DEL succeeds.
func TestNoStore(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	h.drivers[policy.Table].holds.accepted[a.Addresses[0]] = true
	before := h.rules()
	ok(t, os.WriteFile(h.dataDir, nil, 0o600))
	if err := h.engine().Add(a, h.delivered); err == nil || h.rules() != before {
		t.Errorf("ADD: %v, %s", err, h.rules())
	}
	ok(t, h.engine().Del(a))
	if h.rules() != "" || len(h.warned) == 0 {
		t.Errorf("left %s, warned %q", h.rules(), h.warned)
	}
	ok(t, h.engine().GC("br1", nil))
	for what, err := range map[string]error{
		"CHECK": h.engine().Check(a), "STATUS": h.engine().Status("net", policy.NFTables, policy.SameBridge),
	} {
		wrong(t, what, err, "data directory")
	}
	_, err := h.engine().Restore()
	wrong(t, "restore", err, "data directory")
	_, err = h.engine().Survey()
	wrong(t, "survey", err, "data directory")
}

// TestLinksUnknown has the kernel not answer: what cannot be told stays isolated, and
// the record stays.
func TestLinksUnknown(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	before := h.rules()
	h.links.err = errors.New("no answer")
	if err := h.engine().Del(a); err == nil {
		t.Error("DEL succeeds")
	}
	if got := h.rules(); !strings.Contains(got, "br2 isolated") {
		t.Errorf("left %s of %s", got, before)
	}
	if len(h.records()) != 2 {
		t.Errorf("records %v", h.records())
	}
}

// TestNeedless has a network without addresses become open: nothing is desired of its
// bridge any more, and what it needed until now goes, unless another network needs it.
func TestNeedless(t *testing.T) {
	t.Parallel()
	for _, backend := range policy.Backends {
		for _, shared := range []bool{false, true} {
			h := newHost(t)
			h.links.filtered = 0
			a := attached(backend, "br1", "c1", policy.Isolated, "10.1.0.2")
			b := attached(backend, "br1", "c2", policy.Isolated, "10.1.0.3")
			a.Addresses, b.Addresses = nil, nil
			if shared {
				b.Network = "other"
			}
			for _, c := range []policy.Attachment{a, b} {
				h.plug("br1", c.ContainerID)
				h.add(c)
			}
			if !h.port("br1", "c1").Isolated || !strings.Contains(h.rules(), "br1 isolated") {
				t.Fatalf("%s: not isolated: %s", backend, h.rules())
			}
			h.unplug(a.Port)
			h.plug("br1", "c1") // with the same port, the stricter policy holds
			a.IngressPolicy = policy.Open
			h.add(a)
			if isolated := strings.Contains(h.rules(), "br1"); isolated != shared || h.port("br1", "c2").Isolated != shared {
				t.Errorf("%s, shared %t: %s, port %t", backend, shared, h.rules(), h.port("br1", "c2").Isolated)
			}
			ok(t, h.engine().Check(a))
			ok(t, h.engine().Del(a))
			ok(t, h.engine().Del(b))
			if h.rules() != "" || len(h.records()) > 0 {
				t.Errorf("%s, shared %t: left %s, %v", backend, shared, h.rules(), h.records())
			}
		}
	}
}
