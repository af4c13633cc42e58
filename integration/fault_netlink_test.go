// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// netfault is what becomes of calls to the kernel about links and nftables.
type netfault struct {
	calls string // of the system: some of asking or hearing
	what  string // noBuffers or killing
	first int    // that it befalls, counted from 1
	goes  string // "+" if it goes on
}

const (
	asking  = "sendto,sendmsg"   // the kernel has not heard of it
	hearing = "recvfrom,recvmsg" // the kernel has done its work

	noBuffers = "error=ENOBUFS"
	killing   = "signal=KILL"
)

func (f netfault) String() string {
	return fmt.Sprintf("%s at %s, call %d%s", f.what, f.calls, f.first, f.goes)
}

// tracer is the plugin under strace, which has the fault befall its calls.
type tracer struct {
	plugin string // path
	log    string
}

func newTracer(t *testing.T, h *host.Host, f netfault) tracer {
	t.Helper()
	dir := t.TempDir()
	s := tracer{filepath.Join(dir, "firewall"), filepath.Join(dir, "log")}
	inject := fmt.Sprintf("-e inject=%s:%s:when=%d%s", f.calls, f.what, f.first, f.goes)
	if f.what == noBuffers {
		inject += " --seccomp-bpf" // is faster, and loses signals
	}
	// strace counts each thread's calls. A goroutine changes its thread only if it
	// has to wait long while there is something else to do, such as garbage, or for
	// another one, as with D-Bus. Programs of iptables are left alone; without them, a
	// shell starts the plugin.
	leave := ""
	if !h.Backend.HasTable() {
		leave = "-b execve"
	}
	script := fmt.Sprintf("GOGC=off GOMAXPROCS=4 exec strace -f %s -qq -s 0 -o '%s' -e trace=%s %s '%s' \"$@\"\n",
		leave, s.log, f.calls, inject, h.Firewall)
	ok(t, host.WriteScript(s.plugin, script))
	return s
}

var startOfCall = regexp.MustCompile(`^\d+ +(sendto|sendmsg|recvfrom|recvmsg)\(`)

// read returns how many calls there were, and which of them had an error injected.
func (s tracer) read(t *testing.T) (calls int, befallen []int) {
	t.Helper()
	current := map[string]int{} // of each thread
	for line := range strings.Lines(string(must(os.ReadFile(s.log))(t))) {
		thread, _, _ := strings.Cut(line, " ")
		if startOfCall.MatchString(line) {
			calls++
			current[thread] = calls
		}
		if strings.Contains(line, "(INJECTED)") {
			befallen = append(befallen, current[thread])
		}
	}
	return calls, befallen
}

// eachNetfault does something with an error at every call to the kernel, until
// there are no more of them. Each time, the trial must be called just once. The
// one that is sure to fail has all of them fail.
func eachNetfault(t *testing.T, h *host.Host, e extent, do func(what string, try trial)) {
	t.Helper()
	if e == failures {
		f := netfault{asking, noBuffers, 1, "+"}
		do(f.String(), func(c *host.Container, verb string) fate {
			return fateOf(tried(t, c, newTracer(t, h, f).plugin, verb, f))
		})
		return
	}
	seen := 0
	for _, calls := range strings.Split(asking+","+hearing, ",") { // drivers that are read at once use different ones
		seen += eachOf(t, h, calls, e, do)
	}
	if seen == 0 {
		t.Error("no call to the kernel was seen")
	}
}

// eachOf does something with an error at every call of one kind, and returns how many
// there are without a fault.
func eachOf(t *testing.T, h *host.Host, calls string, e extent, do func(what string, try trial)) (clean int) {
	t.Helper()
	const rounds = 3
	covered := map[int]bool{}
	most := 0 // calls of any run
	for n, round := 1, 1; n <= most+1; n++ {
		f := netfault{calls: calls, what: noBuffers, first: n}
		if e == lasting {
			f.goes = "+"
		}
		do(f.String(), func(c *host.Container, verb string) fate {
			s := newTracer(t, h, f)
			end := fateOf(tried(t, c, s.plugin, verb, f))
			all, befallen := s.read(t)
			most = max(most, all)
			for _, position := range befallen {
				covered[position] = true
			}
			if len(befallen) == 0 {
				clean = max(clean, all)
			}
			if len(befallen) == 0 && end != succeeded {
				t.Errorf("%s fails with %s, which did not come to that", verb, f)
			}
			if end == failed && len(befallen) > 1 { // a call of each of two threads
				end = failedTwice
			}
			return end
		})
		if n > most && !enough(covered, clean) && round < rounds {
			n, round = 0, round+1
		}
	}
	if !enough(covered, clean) {
		t.Errorf("%s: too few of %d befallen: %v", calls, clean, covered)
	}
	return clean
}

// enough reports whether half of the calls were befallen at least that a run without
// a fault makes. Some are missed where they come from another thread, others each
// time: so there is another round if need be.
func enough(covered map[int]bool, clean int) bool {
	n := 0
	for position := range covered {
		if position <= clean {
			n++
		}
	}
	return n >= clean/2
}

// tried calls a verb, and wants one error object, or all that a success prints.
func tried(t *testing.T, c *host.Container, plugin, verb string, f netfault) (succeeded bool) {
	t.Helper()
	o := finish(t, host.Command(plugin, verb, c.Conf(), c.Name, c.NetNS))
	want := ""
	if verb == "ADD" {
		want = string(c.PrevResult) + "\n"
	}
	switch {
	case o.err != nil:
		errorObject(t, o.stdout)
	case o.stdout != want:
		t.Errorf("%s with %s prints %s", verb, f, o.stdout)
	}
	return o.err == nil
}
