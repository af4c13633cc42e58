// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

// TestFirewalldFaults has faults befall every call that an ADD, a CHECK and a DEL
// make to firewalld, as a real one cannot be made to fail, and has the plugin
// killed at each.
func TestFirewalldFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []firewalldtest.Fault{
		firewalldtest.Failure, firewalldtest.WorkFailure, firewalldtest.Garbage, firewalldtest.Unauthorized,
		firewalldtest.Drop, firewalldtest.WorkDrop, firewalldtest.Kill, firewalldtest.WorkKill,
		firewalldtest.Hang, firewalldtest.WorkHang,
	} {
		for _, verb := range []string{"ADD", "CHECK", "DEL"} {
			t.Run(strings.ReplaceAll(verb+" with "+string(fault), " ", "-"), func(t *testing.T) {
				host.Test(t, func(t *testing.T, h *host.Host) {
					w := newFaked(t, h)
					for nth, befallen := 1, true; befallen; nth++ {
						befallen = w.befalls(t, verb, fault, nth)
					}
				})
			})
		}
	}
}

// faked is a host with a fake firewalld, and two containers on a bridge: another,
// and the one whose calls fail.
type faked struct {
	h                *host.Host
	bus              *firewalldtest.Bus
	f                *firewalldtest.Firewalld
	other            *host.Container
	c                *host.Container
	before, isolated string
	kept             int // records
}

func newFaked(t *testing.T, h *host.Host) *faked {
	t.Helper()
	ok(t, h.UseVariant("nft"))
	w := &faked{h: h, bus: firewalldtest.StartBus(t)}
	ok(t, os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", w.bus.Address)) // this process is the host
	w.f = firewalldtest.Start(w.bus)
	n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
	w.other, w.c = plain(t, h, n, "other"), plain(t, h, n, "container")
	n.Backend = host.FirewalldZones
	must(w.other.Call(h.Firewall, "ADD"))(t)
	w.before, w.kept, w.isolated = state(t, h), len(records(t, dataDir)), w.isolation(t)
	return w
}

func (w *faked) isolation(t *testing.T) string {
	t.Helper()
	return isolationOf(state(t, w.h))
}

// befalls has a fault befall the nth call of a verb to firewalld, unless there is
// none, and wants the bridge isolated then, and nothing left after the next DEL.
func (w *faked) befalls(t *testing.T, verb string, fault firewalldtest.Fault, nth int) (befallen bool) {
	t.Helper()
	if verb != "ADD" {
		must(w.c.Call(w.h.Firewall, "ADD"))(t)
	}
	how := fmt.Sprintf("%s with %s at call %d", verb, fault, nth)
	w.f.Inject(fault, nth, verb == "CHECK") // which confirms what it finds
	o := finish(t, host.Command(w.h.Firewall, verb, w.c.Conf(), w.c.Name, w.c.NetNS))
	calls := w.f.Calls()
	befallen = len(calls) >= nth
	// What is asked for a warning comes when all is done.
	done := !befallen || strings.Contains(calls[nth-1], "StrictForwardPorts")
	if strings.HasSuffix(string(fault), string(firewalldtest.Kill)) {
		wantKilled(t, how, o, befallen, done)
	} else {
		wantFailed(t, how, o, !done && verb != "DEL")
	}
	same(t, w.isolated, w.isolation(t), "isolation after "+how)
	if befallen && strings.HasSuffix(string(fault), string(firewalldtest.Drop)) {
		w.bus.Start()
		w.f.Own()
	}
	w.heal(t, how)
	return befallen
}

func wantKilled(t *testing.T, how string, o outcome, befallen, done bool) {
	t.Helper()
	if isKilled(o.err) != befallen || !done && o.stdout != "" {
		t.Errorf("%s: %v: %s%s", how, o.err, o.stdout, o.stderr)
	}
}

func wantFailed(t *testing.T, how string, o outcome, failed bool) {
	t.Helper()
	switch {
	case o.err != nil:
		errorObject(t, o.stdout)
	case failed:
		t.Errorf("%s succeeds", how)
	}
}

// heal ends the fault, and wants a DEL to finish what it left.
func (w *faked) heal(t *testing.T, how string) {
	t.Helper()
	w.f.Inject(firewalldtest.None, 0, false)
	must(w.c.Call(w.h.Firewall, "DEL"))(t)
	same(t, w.before, state(t, w.h), "DEL after "+how)
	if left := len(records(t, dataDir)); left != w.kept {
		t.Errorf("%d records, and not %d", left, w.kept)
	}
	if left := linesWith(strings.Join(w.f.Sources(), "\n"), w.c.IPv4+"/", w.c.IPv6+"/"); left != nil {
		t.Errorf("left after %s: %s", how, left)
	}
	must(w.other.Call(w.h.Firewall, "ADD"))(t)
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
