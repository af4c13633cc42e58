// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os/exec"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFailedRestore has "cni-firewall restore" fail or be killed at every call to the
// kernel, after the table was deleted. It opens nothing, forgets nobody, and done
// again it brings all back.
func TestFailedRestore(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, everyPlace...)
		w.protect(t, h)
		golden, files := state(t, h), contents(t)
		for _, calls := range []string{asking, hearing} {
			for _, what := range []string{noBuffers, killing} {
				restores := 0
				for n := 1; ; n++ {
					f := netfault{calls: calls, what: what, first: n}
					shell(t, h, "wipe")
					if !failedRestore(t, h, golden, f) {
						break
					}
					restores++
					if diff := gocmp.Diff(files, contents(t)); diff != "" {
						t.Fatalf("records (-before +after restore with %s):\n%s", f, diff)
					}
					must(h.Run(h.Firewall, "restore"))(t)
					same(t, golden, state(t, h), "restore after restore with "+f.String())
				}
				if t.Logf("%d calls", restores); restores < 3 {
					t.Errorf("with %s at %s restore fails only %d times", what, calls, restores)
				}
			}
		}
		w.check(t, usual, "after all")
	})
}

// failedRestore restores with a fault, and reports whether it came to that.
func failedRestore(t *testing.T, h *host.Host, golden string, f netfault) bool {
	t.Helper()
	s := newTracer(t, h, f)
	o := finish(t, exec.Command(s.plugin, "restore"))
	all, befallen := s.read(t)
	if lines := extra(golden, state(t, h)); lines != nil {
		t.Errorf("restore with %s makes\n%s", f, strings.Join(lines, "\n"))
	}
	switch {
	case o.err == nil:
		same(t, golden, state(t, h), "a restore that succeeds with "+f.String())
	case len(befallen) == 0 && f.what == noBuffers:
		t.Errorf("restore without a fault: %v: %s", o.err, o.stderr)
	case f.what == noBuffers && o.stderr == "":
		t.Errorf("restore with %s says nothing", f)
	}
	return o.err != nil || len(befallen) > 0 || f.first <= all
}
