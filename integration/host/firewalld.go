// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest/dbusdaemon"
)

// FirewalldBackends are those that firewalld has: what it makes its own rules
// with.
var FirewalldBackends = []string{"nftables", "iptables"}

// Firewalld is a real one, which filters this host.
type Firewalld struct {
	h      *Host
	daemon *exec.Cmd
	ended  bool
}

// firewalldLog is where it says what it does not like. Versions before 1.0 can be told no
// other file.
const firewalldLog = "/var/log/firewalld"

// Firewalld starts firewalld on the host's bus, with a configuration and a log that
// are this host's own. What is bound to no zone is in the default one.
func (h *Host) Firewalld(backend, defaultZone string) (*Firewalld, error) {
	for _, dir := range []string{"/etc/firewalld", "/var/log"} {
		if err := empty(dir); err != nil {
			return nil, err
		}
	}
	conf := fmt.Sprintf("DefaultZone=%s\nFirewallBackend=%s\n", defaultZone, backend)
	if err := os.WriteFile("/etc/firewalld/firewalld.conf", []byte(conf), 0o644); err != nil {
		return nil, err
	}
	f := &Firewalld{h: h}
	h.firewalld = f
	return f, f.Start()
}

// Sources returns the sources of all zones of firewalld, each in a line of its
// own, or nothing where it does not run.
func (h *Host) Sources() (string, error) {
	if h.firewalld == nil || h.firewalld.ended {
		return "", nil
	}
	var active map[string]map[string][]string
	if err := askFirewalld(&active, firewalldName+".zone.getActiveZones"); err != nil {
		return "", err
	}
	var lines []string
	for zone, bound := range active {
		for _, source := range bound["sources"] {
			lines = append(lines, "zone "+zone+": source "+source+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

const (
	firewalldName = "org.fedoraproject.FirewallD1"
	firewalldPath = "/org/fedoraproject/FirewallD1"
	getProperty   = "org.freedesktop.DBus.Properties.Get"
)

// askFirewalld calls a method of firewalld. firewall-cmd asks for the same, and
// needs a third of a second of a processor to load Python.
func askFirewalld(answer any, method string, args ...any) error {
	return ask(answer, firewalldPath, method, args...)
}

func ask(answer any, path dbus.ObjectPath, method string, args ...any) error {
	bus, err := dbus.Connect(dbusdaemon.Address(busSocket))
	if err != nil {
		return err
	}
	defer func() { _ = bus.Close() }()
	return bus.Object(firewalldName, path).Call(method, 0, args...).Store(answer)
}

// running returns an error unless firewalld filters. It has its name on the bus
// before it has made its rules.
func running() error {
	var state string
	err := askFirewalld(&state, getProperty, firewalldName, "state")
	if err == nil && state != "RUNNING" {
		err = fmt.Errorf("firewalld is in the state %s", state)
	}
	return err
}

// Gone returns an error as long as the bus has not noticed that firewalld ended.
func (f *Firewalld) Gone() error {
	bus, err := dbus.Connect(dbusdaemon.Address(busSocket))
	if err != nil {
		return err
	}
	defer func() { _ = bus.Close() }()
	var owned bool
	err = bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, firewalldName).Store(&owned)
	if err == nil && owned {
		err = errors.New("firewalld is on the bus")
	}
	return err
}

// Start starts it and waits until it filters. It has the machine's own iptables, which it
// calls by its path: see hideAlternative.
func (f *Firewalld) Start() error {
	f.daemon = exec.Command("sh", "-c", "umount "+alternatives+" 2>/dev/null; exec firewalld --nofork --nopid")
	f.daemon.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	f.ended = false
	var complaints bytes.Buffer
	f.daemon.Stderr = &complaints
	if err := f.daemon.Start(); err != nil {
		return err
	}
	if err := Await(running); err != nil {
		log, _ := os.ReadFile(firewalldLog)
		return fmt.Errorf("starting firewalld: %w: %s%s", err, complaints.String(), log)
	}
	return nil
}

// Stop ends it as systemd does: it takes its rules away.
func (f *Firewalld) Stop() error { return f.end(syscall.SIGTERM) }

// Kill ends it at once: its rules stay.
func (f *Firewalld) Kill() error { return f.end(syscall.SIGKILL) }

// Freeze has it answer nothing until Thaw.
func (f *Firewalld) Freeze() error { return f.daemon.Process.Signal(syscall.SIGSTOP) }

// Thaw has it go on.
func (f *Firewalld) Thaw() error { return f.daemon.Process.Signal(syscall.SIGCONT) }

// Wait waits until it has ended, as it does when the bus is gone.
func (f *Firewalld) Wait() error {
	f.ended = true
	_ = f.daemon.Wait()
	return nil
}

func (f *Firewalld) end(s syscall.Signal) error {
	if err := f.daemon.Process.Signal(s); err != nil {
		return err
	}
	_ = f.daemon.Wait() // how it ended is no matter
	f.ended = true
	return nil
}

// Cmd runs firewall-cmd.
func (f *Firewalld) Cmd(args ...string) (string, error) {
	output, err := f.h.Run("firewall-cmd", args...)
	return strings.TrimSpace(output), err
}

// Bind binds interfaces to a zone.
func (f *Firewalld) Bind(zone string, interfaces ...string) error {
	return f.each("addInterface", zone, interfaces)
}

// Unbind takes interfaces out of a zone; they are in the default one then.
func (f *Firewalld) Unbind(zone string, interfaces ...string) error {
	return f.each("removeInterface", zone, interfaces)
}

func (f *Firewalld) each(method, zone string, interfaces []string) error {
	for _, name := range interfaces {
		var answer string // the zone
		if err := askFirewalld(&answer, firewalldName+".zone."+method, zone, name); err != nil {
			return fmt.Errorf("asking for %s of %s in zone %q: %w", method, name, zone, err)
		}
	}
	return nil
}

// Version returns firewalld's own.
func (f *Firewalld) Version() (version string, err error) {
	err = askFirewalld(&version, getProperty, firewalldName, "version")
	return version, err
}

// Setting returns a line of firewalld.conf as firewalld has read it, or nothing where
// its version does not know it.
func (f *Firewalld) Setting(name string) (value string, err error) {
	err = ask(&value, firewalldPath+"/config", getProperty, firewalldName+".config", name)
	if unknown := (dbus.Error{}); errors.As(err, &unknown) {
		return "", nil
	}
	return value, err
}

// Zones returns what is bound to each zone, in an order of its own.
func (f *Firewalld) Zones() (string, error) {
	active, err := f.Cmd("--get-active-zones")
	if err != nil {
		return "", err
	}
	lines := strings.Split(active, "\n")
	for i, line := range lines {
		name, list, found := strings.Cut(line, ": ")
		if found {
			words := strings.Fields(list)
			slices.Sort(words)
			lines[i] = name + ": " + strings.Join(words, " ")
		}
	}
	return strings.Join(lines, "\n"), nil
}
