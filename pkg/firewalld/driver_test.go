// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"testing"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// useBus makes a bus the system bus.
func useBus(t *testing.T) *firewalldtest.Bus {
	t.Helper()
	bus := firewalldtest.StartBus(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	return bus
}

// TestDriverAbsent wants no families and an empty snapshot where firewalld is absent.
func TestDriverAbsent(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T)
		is      error
	}{
		"no bus":       {func(t *testing.T) { t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus") }, ErrNotRunning},
		"no firewalld": {func(t *testing.T) { useBus(t) }, ErrNotRunning},
		"refused":      {func(t *testing.T) { inject(t, firewalldtest.Unauthorized) }, ErrNotAuthorized},
	} {
		t.Run(name, func(t *testing.T) {
			test.prepare(t)
			d := NewDriver()
			if f, err := d.Installed(0); f != 0 || err != nil {
				t.Errorf("no families: got %v, %v", f, err)
			}
			f, err := d.Installed(policy.BothFamilies)
			if f != 0 || !errors.Is(err, test.is) || !Absent(err) {
				t.Errorf("Installed: got %v, %v", f, err)
			}
			testUnread(t, d, test.is)
		})
	}
}

// inject starts a firewalld that meets its first call with a fault.
func inject(t *testing.T, fault firewalldtest.Fault) {
	t.Helper()
	firewalldtest.Start(useBus(t)).Inject(fault, 1, false)
}

// testUnread wants an error, and a snapshot that opens nothing and removes nothing.
func testUnread(t *testing.T, d *Driver, is error) {
	t.Helper()
	s, err := d.Read(policy.BothFamilies)
	if err == nil || is != nil && !errors.Is(err, is) || s.Families() != 0 {
		t.Errorf("Read: got %v, %v", s, err)
	}
	if err := s.Apply(both, nil); !errors.Is(err, errNotAsked) {
		t.Errorf("Apply: got %v", err)
	}
	if err := s.Remove(both); err != nil {
		t.Errorf("Remove: got %v", err)
	}
}

// TestDriverSilent wants a firewalld that does not answer to count as installed: it
// may still filter.
func TestDriverSilent(t *testing.T) {
	inject(t, firewalldtest.Failure)
	d := NewDriver()
	if f, err := d.Installed(policy.BothFamilies); f != policy.BothFamilies || err != nil {
		t.Errorf("Installed: got %v, %v", f, err)
	}
	testUnread(t, d, nil)
}

// TestDriver adds and removes sources over the system bus, on one connection.
func TestDriver(t *testing.T) {
	f := firewalldtest.Start(useBus(t))
	d := NewDriver()
	if got, err := d.Installed(policy.BothFamilies); got != policy.BothFamilies || err != nil {
		t.Errorf("Installed: got %v, %v", got, err)
	}
	for step, want := range []int{2, 0} {
		s, err := d.Read(policy.BothFamilies)
		if err != nil || s.Families() != policy.BothFamilies {
			t.Fatalf("Read: got %v, %v", s, err)
		}
		do := func() error { return s.Apply(both, nil) }
		if step == 1 {
			do = func() error { return s.Remove(both) }
		}
		if err := do(); err != nil {
			t.Error(err)
		}
		if got := f.Sources(); len(got) != want {
			t.Errorf("step %d: got sources %v", step, got)
		}
	}
	states := 0
	for _, call := range f.Calls() {
		if call == "Get "+mainInterface+" state" {
			states++
		}
	}
	if states != 1 {
		t.Errorf("asked %d times whether firewalld runs: %v", states, f.Calls())
	}
	if s, err := d.Read(0); err != nil || s.Families() != 0 {
		t.Errorf("no families: got %v, %v", s, err)
	}
}
