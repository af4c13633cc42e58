// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

// short is a deadline for tests in which no answer comes. All other tests keep the real
// one, so that a busy machine does not look like a firewalld that hangs.
const short = time.Second

// connect returns a connection to a fake firewalld, and the fake.
func connect(t *testing.T) (*Conn, *firewalldtest.Firewalld) {
	t.Helper()
	bus := firewalldtest.StartBus(t)
	f := firewalldtest.Start(bus)
	return newConn(bus.Connect()), f
}

func TestRunning(t *testing.T) {
	t.Parallel()
	bus := firewalldtest.StartBus(t)
	c := newConn(bus.Connect())
	if err := c.Running(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with nobody on the bus: %v", err)
	}
	f := firewalldtest.Start(bus)
	if err := c.Running(); err != nil {
		t.Errorf("with firewalld: %v", err)
	}
	for fault, want := range map[firewalldtest.Fault]error{
		firewalldtest.Unauthorized: ErrNotAuthorized,
		firewalldtest.Hang:         ErrNoAnswer,
	} {
		f.Inject(fault, 1, false)
		if c.deadline = callDeadline; errors.Is(want, ErrNoAnswer) {
			c.deadline = short
		}
		if err := c.Running(); !errors.Is(err, want) {
			t.Errorf("%s: %v", fault, err)
		}
	}
	c.deadline = callDeadline
	for _, fault := range []firewalldtest.Fault{firewalldtest.Failure, firewalldtest.Garbage, firewalldtest.Exit} {
		f.Inject(fault, 1, false)
		err := c.Running()
		for _, not := range []error{nil, ErrNotRunning, ErrElsewhere, ErrNotAuthorized} {
			if errors.Is(err, not) {
				t.Errorf("%s: %v", fault, err)
			}
		}
	}
	if err := c.Running(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after firewalld has gone: %v", err)
	}
}

// TestElsewhere asks for a process that the caller cannot see. A firewalld in another
// network namespace takes root: see the integration tests.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	const none = 1 << 30 // above pid_max
	if err := checkNamespace(none); !errors.Is(err, ErrElsewhere) {
		t.Errorf("a process that is not to be seen: %v", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	rejected := reply("REJECTED EXTERNAL", "REJECTED EXTERNAL")
	for name, test := range map[string]struct {
		address string
		is      error
		says    string
	}{
		"no socket":         {"unix:path=/nowhere/socket", ErrNotRunning, "there is no bus"},
		"nobody listening":  {listener(t, nil), ErrNotRunning, "there is no bus"},
		"silence":           {listener(t, discard), ErrNoAnswer, short.String()},
		"end at once":       {listener(t, func(c net.Conn) { _ = c.Close() }), nil, ""},
		"rejected":          {listener(t, rejected), ErrNotAuthorized, "authentication failed"},
		"other mechanisms":  {listener(t, reply("REJECTED KERBEROS_V4")), ErrNotAuthorized, "authentication failed"},
		"no bus":            {listener(t, reply("220 mail.example.org ESMTP")), ErrNotAuthorized, "protocol error"},
		"reset":             {listener(t, reset), nil, "reset"},
		"no address":        {"somewhere", nil, "must begin with unix:path="},
		"unknown transport": {"tcp:host=localhost,port=1", nil, "must begin with unix:path="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadline := callDeadline
			if errors.Is(test.is, ErrNoAnswer) {
				deadline = short
			}
			c, err := dial(test.address, deadline)
			if c != nil || err == nil {
				t.Fatal("connected")
			}
			if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
			if test.is == nil && (errors.Is(err, ErrNotRunning) || errors.Is(err, ErrNotAuthorized)) {
				t.Errorf("taken for no firewalld: %v", err)
			}
		})
	}
}

// listener returns the address of a program that is no bus. Without a function, no
// program listens there any more.
func listener(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	if do == nil {
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		return "unix:path=" + socket
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
		}
	}()
	return "unix:path=" + socket
}

// discard reads and never answers.
func discard(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// reset closes a connection with data unread.
func reset(c net.Conn) {
	for buffer := make([]byte, 1); ; {
		if _, err := c.Read(buffer); err != nil || buffer[0] == 'A' {
			_ = c.Close()
			return
		}
	}
}

func TestSocketOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"unix:path=/run/bus":                          "/run/bus",
		"unix:path=/run/bus,guid=0123":                "/run/bus",
		"unix:guid=0123,path=/run/a%20bus":            "/run/a bus",
		"unix:abstract=bus":                           "@bus",
		"tcp:host=localhost;unix:path=/run/bus":       "/run/bus",
		"unix:path=/run/bus;unix:path=/run/other":     "/run/bus",
		"unix:runtime=yes":                            "",
		"unix:path=":                                  "",
		"unix:path=%":                                 "",
		"unixexec:path=/bin/sh":                       "",
		"launchd:env=DBUS_LAUNCHD_SESSION_BUS_SOCKET": "",
	} {
		if got, err := socketOf(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

// reply sends a line for each that it reads.
func reply(lines ...string) func(net.Conn) {
	return func(c net.Conn) {
		buffer := make([]byte, 1000)
		for _, line := range lines {
			if _, err := c.Read(buffer); err != nil {
				return
			}
			_, _ = io.WriteString(c, line+"\r\n")
		}
	}
}
