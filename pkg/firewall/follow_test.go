// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRenamed renames a bridge under a running container: CHECK tells, and every next
// call isolates the bridge under its new name.
func TestRenamed(t *testing.T) {
	t.Parallel()
	one := attached(policy.IPTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	for name, call := range map[string]func(*fakeHost) error{
		"ADD of its own": func(h *fakeHost) error { return h.engine().Add(one, h.delivered) },
		"DEL of another": func(h *fakeHost) error {
			return h.engine().Del(policy.Attachment{Network: "n", ContainerID: "c", IfName: "i"})
		},
		"restore":       func(h *fakeHost) error { _, err := h.engine().Restore(); return err },
		"GC of another": func(h *fakeHost) error { return h.engine().GC("n", nil) },
		"ADD of another one": func(h *fakeHost) error {
			return h.engine().Add(attached(policy.NFTables, "br2", "c2", policy.Open, "10.2.0.2"), h.delivered)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := twoBridges(t, policy.IPTables)
			if moved, err := h.engine().Moved(); moved || err != nil {
				t.Errorf("moved %t, %v", moved, err)
			}
			h.rename("br1", "new")
			if moved, err := h.engine().Moved(); !moved || err != nil {
				t.Errorf("renamed: moved %t, %v", moved, err)
			}
			wrong(t, "CHECK", h.engine().Check(one), "bridge new is not same-bridge")
			wrong(t, "STATUS", h.engine().Status("net", policy.IPTables, policy.SameBridge), "new")
			ok(t, call(h))
			for _, driver := range []policy.DriverName{policy.Table, policy.Filter} {
				isolated := h.drivers[driver].holds.isolated
				if isolated["new"] != policy.SameBridge || isolated["br1"] != "" {
					t.Errorf("%s isolates %v", driver, isolated)
				}
			}
			ok(t, h.engine().Check(one))
			ok(t, h.engine().Del(one))
			h.drivers[policy.Table].holds.accepted = nil
			if got := h.rules(); got != "" {
				t.Errorf("left %s", got)
			}
		})
	}
}

// TestMadeAnew deletes a bridge under a running container, and puts the port on another.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	h, _ := twoBridges(t, policy.NFTables)
	one := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	h.unplug("br1")
	port := h.port("br1", "c1")
	port.MasterIndex = 0
	h.links.links[port.Name] = port
	r, err := h.engine().Restore()
	ok(t, err)
	if r.Attachments != 1 || h.rules() != "nftables: br1 same-bridge, 10.1.0.2" {
		t.Errorf("without a bridge: restored %+v, %s", r, h.rules())
	}
	h.plug("br1", "other")
	h.plug("anew", "other")
	port.MasterIndex = h.links.links["anew"].Index
	h.links.links[port.Name] = port
	wrong(t, "CHECK", h.engine().Check(one), "anew")
	if _, err := h.engine().Restore(); err != nil {
		t.Fatal(err)
	}
	if got := h.drivers[policy.Table].holds.isolated["anew"]; got != policy.SameBridge {
		t.Errorf("got %s", h.rules())
	}
	ok(t, h.engine().Check(one))
}
