// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

// TestFirewalldFaults has faults befall every call that an ADD, a CHECK and a DEL
// make to firewalld, as a real one cannot be made to fail.
func TestFirewalldFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []firewalldtest.Fault{
		firewalldtest.Failure, firewalldtest.WorkFailure, firewalldtest.Garbage,
		firewalldtest.Unauthorized, firewalldtest.Drop, firewalldtest.WorkDrop,
	} {
		t.Run(strings.ReplaceAll(string(fault), " ", "-"), func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) { testFirewalldFaults(t, h, fault) })
		})
	}
}

func testFirewalldFaults(t *testing.T, h *host.Host, fault firewalldtest.Fault) {
	ok(t, h.UseVariant("nft"))
	bus := firewalldtest.StartBus(t)
	ok(t, os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)) // this process is the host
	f := firewalldtest.Start(bus)
	n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
	other, c := plain(t, h, n, "other"), plain(t, h, n, "container")
	n.Backend = host.FirewalldZones
	must(other.Call(h.Firewall, "ADD"))(t)
	before, kept, isolated := state(t, h), len(records(t, dataDir)), isolation(state(t, h))
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		for nth, befallen := 1, true; befallen; nth++ {
			added(t, h, c, verb != "ADD")
			f.Inject(fault, nth, verb == "CHECK") // which confirms what it finds
			stdout, err := c.Call(h.Firewall, verb)
			befallen = len(f.Calls()) >= nth
			asked := befallen && strings.Contains(f.Calls()[nth-1], "StrictForwardPorts") // for a warning
			if befallen && err == nil && !asked && verb != "DEL" {
				t.Errorf("%s with %s at call %d succeeds", verb, fault, nth)
			}
			if err != nil {
				errorObject(t, stdout)
			}
			same(t, strings.Join(isolated, "\n"), strings.Join(isolation(state(t, h)), "\n"), "isolation after "+verb+" with "+string(fault))
			f.Inject(firewalldtest.None, 0, false)
			if befallen && strings.HasSuffix(string(fault), string(firewalldtest.Drop)) {
				bus.Start()
				f.Own()
			}
			must(c.Call(h.Firewall, "DEL"))(t)
			same(t, before, state(t, h), "DEL after "+verb+" with "+string(fault))
			if left := len(records(t, dataDir)); left != kept {
				t.Errorf("%d records, and not %d", left, kept)
			}
			if left := linesWith(strings.Join(f.Sources(), "\n"), c.IPv4+"/", c.IPv6+"/"); left != nil {
				t.Errorf("left after %s with %s at call %d: %s", verb, fault, nth, left)
			}
			must(other.Call(h.Firewall, "ADD"))(t)
		}
	}
}

func added(t *testing.T, h *host.Host, c *host.Container, needed bool) {
	t.Helper()
	if needed {
		must(c.Call(h.Firewall, "ADD"))(t)
	}
}

// TestFirewalldNotOurs has a firewalld on the bus that refuses the caller, and one
// that filters another network namespace.
func TestFirewalldNotOurs(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant("nft"))
		bus := firewalldtest.StartBus(t)
		ok(t, os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)) // this process is the host
		f := firewalldtest.Start(bus)
		n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
		c := plain(t, h, n, "container")
		f.Inject(firewalldtest.Unauthorized, 1, true)
		o := finish(t, host.Command(h.Firewall, "ADD", c.Conf(), c.Name, c.NetNS))
		if o.err != nil || !strings.Contains(o.stderr, "going on without firewalld") || !strings.Contains(o.stderr, "Not Authorized") {
			t.Errorf("%v: %s", o.err, o.stderr)
		}
		chose(t, h, false)
		must(c.Call(h.Firewall, "DEL"))(t)
		n.Backend = host.FirewalldZones
		if stdout, err := c.Call(h.Firewall, "ADD"); err == nil || !strings.Contains(errorObject(t, stdout).Msg, "Not Authorized") {
			t.Errorf("%v", err)
		}
		f.Inject(firewalldtest.None, 0, false)
		f.SetStrictForwardPorts("yes")
		for _, verb := range []string{"ADD", "STATUS"} {
			conf := c.Conf()
			if verb == "STATUS" {
				conf = n.Conf(map[string]any{"cniVersion": "1.1.0"})
			}
			o := finish(t, host.Command(h.Firewall, verb, conf, c.Name, c.NetNS))
			if o.err != nil || !strings.Contains(o.stderr, "StrictForwardPorts=no") {
				t.Errorf("%s: %v: %s%s", verb, o.err, o.stdout, o.stderr)
			}
		}
		// In the container's namespace the same firewalld is another one's.
		stdout, err := h.Run("ip", "netns", "exec", c.Name, "sh", "-c", "CNI_COMMAND=STATUS CNI_PATH=/nowhere "+h.Firewall+" <<'X'\n"+n.Conf(map[string]any{"cniVersion": "1.1.0"})+"\nX")
		if err == nil || !strings.Contains(stdout, "belongs to another network namespace") {
			t.Errorf("%v: %s", err, stdout)
		}
	})
}
