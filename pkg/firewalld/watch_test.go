// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	bus := firewalldtest.StartBus(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, ready, ended := make(chan Event, 10), make(chan struct{}), make(chan error, 1)
	c := newConn(bus.Connect())
	go func() {
		ended <- c.Watch(ctx, func() { close(ready) }, func(e Event) { events <- e })
	}()
	<-ready
	f := firewalldtest.Start(bus)
	next(t, events, Started)
	f.Reload()
	next(t, events, Reloaded)
	f.SetDefaultZone("home")
	next(t, events, Rezoned)
	f.Leave()
	next(t, events, Stopped)
	f.Own()
	next(t, events, Started)

	// Another program sends signals of the same name, and other signals.
	other := bus.Connect()
	for _, name := range []string{
		busName + ".Reloaded", busName + ".DefaultZoneChanged", busName + ".zone.SourceAdded", "org.freedesktop.DBus.NameOwnerChanged",
	} {
		if err := other.Emit(path, name, busName, "", ":1.7"); err != nil {
			t.Fatal(err)
		}
	}
	f.Reload()
	next(t, events, Reloaded)
	select {
	case e := <-events:
		t.Errorf("got %q for another program's signal", e)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("told to end: %v", err)
	}
}

func next(t *testing.T, events <-chan Event, want Event) {
	t.Helper()
	select {
	case e := <-events:
		if e != want {
			t.Fatalf("got %q, want %q", e, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("got nothing, want %q", want)
	}
}

func TestWatchLosesTheBus(t *testing.T) {
	t.Parallel()
	bus := firewalldtest.StartBus(t)
	c := newConn(bus.Connect())
	err := c.Watch(context.Background(), bus.Kill, func(e Event) { t.Errorf("%q", e) })
	if !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
}
