// SPDX-License-Identifier: Apache-2.0

package firewalldtest

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
)

// Fault is what happens to a call instead of an answer.
type Fault string

// The faults. One that begins with "work" happens after the work of the call is done.
const (
	None         Fault = ""
	Failure      Fault = "failure"
	WorkFailure  Fault = "work, then failure"
	Unauthorized Fault = "no authorization"
	Garbage      Fault = "garbage"
	Hang         Fault = "hanging"
	WorkHang     Fault = "work, then hanging"
	Drop         Fault = "bus dropped"
	WorkDrop     Fault = "work, then bus dropped"
	Exit         Fault = "firewalld gone"
	Kill         Fault = "caller killed"
	WorkKill     Fault = "work, then caller killed"
)

// nextFault records a call and returns its fault.
func (f *Firewalld) nextFault(call string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	if n := len(f.calls); n == f.nth || f.onwards && n > f.nth && f.nth > 0 {
		return f.fault
	}
	return None
}

// call is one call of a method.
type call struct {
	method
	f      *Firewalld
	sender string
}

// DecodeArguments is where the library tells the sender of a call.
func (c *call) DecodeArguments(_ *dbus.Conn, sender string, m *dbus.Message, _ []any) ([]any, error) {
	c.sender = sender
	return m.Body, nil
}

// Call serves the call. A call that is never answered ends with the test.
func (c *call) Call(values ...any) ([]any, error) {
	args := make([]string, len(values))
	for i, v := range values {
		args[i] = v.(string)
	}
	fault := c.f.nextFault(strings.Join(append([]string{c.name}, args...), " "))
	if answer, failed, err := c.fail(fault); failed {
		return answer, err
	}
	c.f.mu.Lock()
	result, refusal := c.work(c.f, args)
	c.f.mu.Unlock()
	switch later, works := strings.CutPrefix(string(fault), "work, then "); {
	case works:
		answer, _, err := c.fail(Fault(later))
		return answer, err
	case refusal != nil:
		return nil, refusal
	}
	return []any{result}, nil
}

// fail carries out a fault. Where there is none, failed is false.
func (c *call) fail(fault Fault) (answer []any, failed bool, err error) {
	switch fault {
	case Failure:
		return nil, true, refuse("COMMAND_FAILED: told to fail")
	case Unauthorized:
		return nil, true, dbus.NewError(Name+".NotAuthorizedException", []any{"Not Authorized"})
	case Garbage:
		return []any{[]uint32{7}}, true, nil
	case Hang:
	case Drop:
		c.f.bus.Kill()
	case Exit:
		c.f.Leave()
	case Kill:
		c.kill()
	default:
		return nil, false, nil
	}
	<-c.f.unanswered
	return nil, true, nil
}

// kill kills the caller, which must be another process.
func (c *call) kill() {
	var pid int32
	const question = "org.freedesktop.DBus.GetConnectionUnixProcessID"
	if err := c.f.conn.BusObject().Call(question, 0, c.sender).Store(&pid); err != nil || int(pid) == os.Getpid() {
		panic(fmt.Sprintf("asking for the process of %s: %v: %d", c.sender, err, pid))
	}
	_ = syscall.Kill(int(pid), syscall.SIGKILL)
}

// handler tells the library the fake's methods.
type handler struct{ f *Firewalld }

func (h handler) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return h, true }

func (h handler) LookupInterface(string) (dbus.Interface, bool) { return h, true }

func (h handler) LookupMethod(name string) (dbus.Method, bool) {
	for _, m := range methods {
		if m.name == name {
			return &call{method: m, f: h.f}, true
		}
	}
	return nil, false
}

func (m method) NumArguments() int { return m.takes }

func (m method) NumReturns() int { return 1 }

func (m method) ArgumentValue(int) any { return "" }

func (m method) ReturnValue(int) any { return "" }
