// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// extent is how much goes wrong.
type extent int

const (
	single   extent = iota // one call fails, in every way
	failures               // one call fails, and says so
	midway                 // one call fails that may have written
	lasting                // what went before cannot be taken back either
)

// trial is a call of a verb with a fault.
type trial func(c *host.Container, verb string) fate

// fate is what became of a trial.
type fate int

const (
	succeeded fate = iota
	failed
	failedTwice // what was to take back the first half failed, too
)

func fateOf(ok bool) fate {
	if ok {
		return succeeded
	}
	return failed
}

// eachFault does something with every fault that the backend in use may meet.
func eachFault(t *testing.T, h *host.Host, e extent, do func(what string, try trial)) {
	t.Helper()
	if h.Backend.HasTable() {
		eachNetfault(t, h, e, do)
		return
	}
	for _, f := range e.faults() {
		do(f.String(), func(c *host.Container, verb string) fate { return fateOf(call(t, h, c, verb, f)) })
	}
}

// faults are those of programs.
func (e extent) faults() []fault {
	switch e {
	case failures:
		return slices.DeleteFunc(singleFaults(), func(f fault) bool { return f.kind != "failure" })
	case midway:
		return midwayFaults()
	case lasting:
		return lastingFaults()
	}
	return singleFaults()
}

// singleFaults befall one call, the first, of each program.
func singleFaults() []fault {
	var all []fault
	for _, program := range programs {
		kinds := []string{"failure", "crash", "locked table", "work, then fail"}
		if !strings.HasSuffix(program, "-restore") {
			kinds = append(kinds, "garbage", "open quotes", "silence") // what the others print is nobody's input
		}
		for _, kind := range kinds {
			all = append(all, fault{program, 1, 1, kind})
		}
	}
	return all
}

// midwayFaults befall a call when something may have been written.
func midwayFaults() []fault {
	return slices.DeleteFunc(singleFaults(), func(f fault) bool {
		return !strings.HasSuffix(f.program, "-restore") || f.kind == "locked table"
	})
}

// lastingFaults go on, so that what went before cannot be taken back either.
func lastingFaults() []fault {
	var all []fault
	for _, program := range programs {
		for first := range 3 {
			all = append(all, fault{program, first + 1, 99, "failure"}, fault{program, first + 1, 99, "work, then fail"})
		}
	}
	return all
}

// plain attaches a container to a network, without the plugin.
func plain(t *testing.T, h *host.Host, n *host.Network, name string) *host.Container {
	t.Helper()
	n.Plain = true
	return must(h.Add(n, name, nil))(t)
}

// call calls a verb with a fault, and reports whether it succeeded. Either way
// standard output holds one object and nothing else.
func call(t *testing.T, h *host.Host, c *host.Container, verb string, f fault) (succeeded bool) {
	t.Helper()
	s := newShims(t, f)
	stdout, err := c.Call(h.Firewall, verb, "PATH="+string(s))
	if befallen := s.count(t)[f.program] >= f.first; !befallen {
		if err != nil {
			t.Errorf("%s with %s, which did not come to that: %v", verb, f, err)
		}
		return err == nil
	}
	// The table is read again after a write that seems to have failed, so that work
	// that was done comes to light.
	recovers := strings.HasPrefix(f.kind, "work") && strings.HasSuffix(f.program, "-restore")
	switch {
	case err != nil:
		code := errorObject(t, stdout).Code
		if locked := f.kind == "locked table"; locked != (code == 11) {
			t.Errorf("%s with %s: code %d: %s", verb, f, code, stdout)
		}
		return false
	case !recovers && f.first == 1:
		t.Errorf("%s succeeds with %s", verb, f)
	case verb == "ADD" && stdout != string(c.PrevResult)+"\n":
		t.Errorf("%s with %s prints %s", verb, f, stdout)
	}
	return true
}
