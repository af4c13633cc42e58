// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestKilledAtEveryCall has ADD and DEL killed at every call to the kernel, before
// and after its work.
func TestKilledAtEveryCall(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"on a bridge of its own": false, "on a bridge with others": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onNFTablesInParts(t, map[string]part{
				"ADD before": func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, shared, "ADD", asking) },
				"ADD after":  func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, shared, "ADD", hearing) },
				"DEL before": func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, shared, "DEL", asking) },
				"DEL after":  func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, shared, "DEL", hearing) },
			})
		})
	}
	// What goes from iptables-nft goes without its programs.
	inParts(t, host.Backends[0], map[string]part{
		"DEL before": func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, false, "DEL", asking) },
		"DEL after":  func(t *testing.T, h *host.Host) { testKilledAtEveryCall(t, h, false, "DEL", hearing) },
	})
}

func testKilledAtEveryCall(t *testing.T, h *host.Host, shared bool, verb, calls string) {
	v, w := newVictim(t, h, shared)
	stop := []func(){watch(t, check(h, w.networks[0].peer)), watch(t, check(h, w.networks[1].server))}
	v.killAtEveryCall(t, verb, calls)
	for _, s := range stop {
		s()
	}
	w.check(t, usual, "after all")
}

// killAtEveryCall has a verb killed at one call after the other, and every ending
// come after each.
func (v *victim) killAtEveryCall(t *testing.T, verb, calls string) {
	t.Helper()
	killed := 0
	for n := 1; ; n++ {
		f := netfault{calls: calls, what: killing, first: n}
		all, befallen := 0, false
		for _, ending := range append(endings[:len(endings):len(endings)], secondTry) {
			how := fmt.Sprintf("%s with %s, then %s", verb, f, ending.name)
			if verb == "DEL" {
				must(v.Call(v.h.Firewall, "ADD"))(t)
			}
			made, died := v.killedWith(t, verb, f)
			all, befallen = max(all, made), befallen || died
			keeps(t, v.before, state(t, v.h), how)
			ending.end(t, v)
			v.ended(t, how)
		}
		if befallen {
			killed++
		} else if n > all {
			break
		}
	}
	t.Logf("%s killed at %d of %s", verb, killed, calls)
	if killed < 3 {
		t.Errorf("%s was killed at only %d of %s", verb, killed, calls)
	}
}

// secondTry finishes what was begun, and takes all back.
var secondTry = ending{"ADD and DEL", func(t *testing.T, v *victim) {
	must(v.Call(v.h.Firewall, "ADD"))(t)
	same(t, v.after, state(t, v.h), "ADD after a call that was killed")
	must(v.Call(v.h.Firewall, "DEL"))(t)
}}

// killedWith reports whether a call was killed, and how many calls to the kernel
// it made.
func (v *victim) killedWith(t *testing.T, verb string, f netfault) (calls int, killed bool) {
	t.Helper()
	s := newTracer(t, v.h, f)
	o := finish(t, host.Command(s.plugin, verb, v.Conf(), v.Name, v.NetNS))
	if o.err != nil && !isKilled(o.err) {
		t.Errorf("%s with %s: %v: %s%s", verb, f, o.err, o.stdout, o.stderr)
	}
	calls, _ = s.read(t)
	return calls, o.err != nil
}

func isKilled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, known := exit.Sys().(syscall.WaitStatus)
	return known && status.Signaled() && status.Signal() == syscall.SIGKILL
}
