// SPDX-License-Identifier: Apache-2.0

package firewalldtest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/godbus/dbus/v5"
)

// Names on the bus.
const (
	Name = "org.fedoraproject.FirewallD1"
	path = dbus.ObjectPath("/org/fedoraproject/FirewallD1")
)

// Zones are the zones of the fake.
var Zones = []string{"public", "trusted", "work"}

// Firewalld is a fake that has the sources of its zones, and faults.
type Firewalld struct {
	bus  *Bus
	conn *dbus.Conn

	mu         sync.Mutex
	sources    map[string]string // zone by source
	strict     string            // StrictForwardPorts; empty: a version without it
	calls      []string
	fault      Fault
	nth        int           // call since Inject that has the fault
	onwards    bool          // so have all calls after it
	unanswered chan struct{} // closed at the end
}

// Start starts a fake that owns firewalld's name on the bus.
func Start(bus *Bus) *Firewalld {
	bus.t.Helper()
	f := &Firewalld{bus: bus, sources: map[string]string{}, unanswered: make(chan struct{})}
	bus.t.Cleanup(func() { close(f.unanswered) })
	f.Own()
	return f
}

// Own takes the name again after the bus or the fake was gone. All sources are lost.
func (f *Firewalld) Own() {
	f.bus.t.Helper()
	f.mu.Lock()
	clear(f.sources)
	f.mu.Unlock()
	f.conn = f.bus.Connect(dbus.WithHandler(handler{f}))
	if _, err := f.conn.RequestName(Name, dbus.NameFlagDoNotQueue); err != nil {
		f.bus.t.Fatal(err)
	}
}

// Leave gives the name up.
func (f *Firewalld) Leave() { _ = f.conn.Close() }

// Reload drops all sources and sends the signal Reloaded.
func (f *Firewalld) Reload() {
	f.bus.t.Helper()
	f.mu.Lock()
	clear(f.sources)
	f.mu.Unlock()
	f.emit("Reloaded")
}

// SetDefaultZone sends the signal DefaultZoneChanged.
func (f *Firewalld) SetDefaultZone(zone string) {
	f.bus.t.Helper()
	f.emit("DefaultZoneChanged", zone)
}

func (f *Firewalld) emit(signal string, values ...any) {
	f.bus.t.Helper()
	if err := f.conn.Emit(path, Name+"."+signal, values...); err != nil {
		f.bus.t.Fatal(err)
	}
}

// Inject gives the nth call from now on a fault, counted from 1; with onwards, all
// calls after it as well. It forgets earlier calls.
func (f *Firewalld) Inject(fault Fault, nth int, onwards bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.nth, f.onwards, f.calls = fault, nth, onwards, nil
}

// Calls returns the calls since Inject, each with its arguments.
func (f *Firewalld) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Bind puts a source into a zone, or into none for "", as another program would.
func (f *Firewalld) Bind(source, zone string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sources[source] = zone; zone == "" {
		delete(f.sources, source)
	}
}

// Sources returns each source with its zone, sorted.
func (f *Firewalld) Sources() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for source, zone := range f.sources {
		all = append(all, source+" "+zone)
	}
	slices.Sort(all)
	return all
}

// SetStrictForwardPorts makes the fake a version that has the setting.
func (f *Firewalld) SetStrictForwardPorts(value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strict = value
}

// method is a method of the fake. Objects and interfaces make no difference.
type method struct {
	name  string
	takes int // arguments, all strings
	work  func(f *Firewalld, args []string) (any, *dbus.Error)
}

var methods = []method{
	{"addSource", 2, (*Firewalld).addSource},
	{"removeSource", 2, (*Firewalld).removeSource},
	{"querySource", 2, (*Firewalld).querySource},
	{"getZoneOfSource", 1, (*Firewalld).getZoneOfSource},
	{"getZones", 0, func(*Firewalld, []string) (any, *dbus.Error) { return Zones, nil }},
	{"getActiveZones", 0, (*Firewalld).getActiveZones},
	{"Get", 2, (*Firewalld).get}, // of a property
}

func refuse(format string, args ...any) *dbus.Error {
	return dbus.NewError(Name+".Exception", []any{fmt.Sprintf(format, args...)})
}

func (f *Firewalld) addSource(args []string) (any, *dbus.Error) {
	zone, source := args[0], args[1]
	switch holder := f.sources[source]; {
	case !slices.Contains(Zones, zone):
		return nil, refuse("INVALID_ZONE: %s", zone)
	case holder == zone:
		return nil, refuse("ZONE_ALREADY_SET: '%s' already bound to '%s'", source, zone)
	case holder != "":
		return nil, refuse("ZONE_CONFLICT: '%s' already bound to a zone", source)
	}
	f.sources[source] = zone
	return zone, nil
}

func (f *Firewalld) removeSource(args []string) (any, *dbus.Error) {
	zone, source := args[0], args[1]
	switch holder := f.sources[source]; holder {
	case "":
		return nil, refuse("UNKNOWN_SOURCE: '%s' is not in any zone", source)
	case zone:
		delete(f.sources, source)
		return zone, nil
	default:
		return nil, refuse("ZONE_CONFLICT: remove_source(%s, %s): zos='%s'", zone, source, holder)
	}
}

func (f *Firewalld) querySource(args []string) (any, *dbus.Error) {
	if !slices.Contains(Zones, args[0]) {
		return nil, refuse("INVALID_ZONE: %s", args[0])
	}
	return f.sources[args[1]] == args[0], nil
}

func (f *Firewalld) getZoneOfSource(args []string) (any, *dbus.Error) { return f.sources[args[0]], nil }

func (f *Firewalld) getActiveZones([]string) (any, *dbus.Error) {
	active := map[string]map[string][]string{}
	for source, zone := range f.sources {
		if active[zone] == nil {
			active[zone] = map[string][]string{}
		}
		active[zone]["sources"] = append(active[zone]["sources"], source)
	}
	return active, nil
}

func (f *Firewalld) get(args []string) (any, *dbus.Error) {
	switch {
	case args[1] == "state":
		return dbus.MakeVariant("RUNNING"), nil
	case args[1] == "StrictForwardPorts" && f.strict != "":
		return dbus.MakeVariant(f.strict), nil
	}
	return nil, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"Property '" + args[1] + "' does not exist"})
}
