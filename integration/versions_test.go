// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// theFirst, theSecond: upstream's plugin wrote the first comment until 1.6, and writes the
// second one since 1.7. "same-bridge" alone still is the comment of a jump to stage 2.
const theFirst, theSecond = `(ingressPolicy: same-bridge)"`, `(ingressPolicy: same-bridge|isolated)"`

// TestVersions exchanges upstream's plugin, of the versions that hosts come with, for ours,
// and ours for upstream's, with containers running.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1.1.1", "v1.3.0", "v1.6.2", "v1.7.1", "today"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			onEachVariant(t, func(t *testing.T, h *host.Host) { exchange(t, h, version) })
		})
	}
}

// upstreamOf returns upstream's plugin of a version.
func upstreamOf(t *testing.T, h *host.Host, version string) string {
	t.Helper()
	if version == "today" {
		return h.Upstream()
	}
	program := filepath.Join(filepath.Dir(h.Upstream()), version, "firewall")
	_, err := os.Stat(program)
	ok(t, err)
	return program
}

func exchange(t *testing.T, h *host.Host, version string) {
	t.Helper()
	theirs, ours := upstreamOf(t, h, version), h.Firewall
	before := state(t, h)
	w := newWorld(t, h, place{"same-bridge", "deny"}, place{"same-bridge", "allow"}, place{"open", "deny"})
	w.checkAllOpen(t)
	w.call(t, theirs, "ADD")
	upstreams := state(t, h)
	isOld := version != "today" && version < "v1.7"
	if comment := map[bool]string{true: theFirst, false: theSecond}[isOld]; !isMarked(upstreams, comment) {
		t.Fatalf("%s does not write %s:\n%s", version, comment, upstreams)
	}
	w.compare(t, "upstream's", func(p probe) host.Verdict {
		p.target.PublishedPorts = "deny"
		return w.expected(p, usual)
	})

	w.call(t, ours, "CHECK")
	same(t, upstreams, state(t, h), "CHECK")
	if v := look(t, ours); !v.InForce {
		t.Errorf("status before the first ADD: %+v", v)
	}
	// A container that only upstream knows goes. Its bridge stays isolated.
	gone := w.networks[1].peer
	must(gone.Call(ours, "DEL"))(t)
	if left := linesWith(state(t, h), gone.IPv4+"/", gone.IPv6+"/"); left != nil {
		t.Errorf("our DEL leaves %q", left)
	}
	must(gone.Call(theirs, "ADD"))(t)

	// What upstream isolated becomes open.
	first := w.networks[0]
	first.become(place{"open", "deny"})
	first.alias = "opened"
	w.call(t, ours, "ADD")
	if left := linesWith(state(t, h), "-i "+first.network.Bridge+" ", "-o "+first.network.Bridge+" "); left != nil {
		t.Errorf("an open bridge has %q", left)
	}
	w.check(t, usual, "an open network")
	first.become(place{"same-bridge", "deny"})
	first.alias = ""

	w.call(t, ours, "ADD")
	if marked := state(t, h); isMarked(marked, theFirst) || !isMarked(marked, theSecond) {
		t.Errorf("after our ADDs:\n%s", marked)
	}
	w.check(t, usual, "ours over upstream's")
	w.call(t, theirs, "CHECK")
	w.call(t, theirs, "ADD")
	if isOld { // its jump goes ahead of that to published ports
		if message := complaint(t, w.networks[1].server, ours); !strings.Contains(message, "out of place") {
			t.Errorf("CHECK after upstream's ADD: %s", message)
		}
		w.call(t, ours, "ADD")
	}
	w.call(t, ours, "CHECK")
	w.check(t, usual, "upstream's over ours")

	must(first.server.Call(theirs, "DEL"))(t)
	must(w.networks[1].server.Call(theirs, "DEL"))(t)
	w.remove(t, h)
	same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
}

// isMarked reports whether a rule of the isolation that is no jump to stage 2 has a comment.
func isMarked(rules, comment string) bool {
	for _, line := range linesWith(rules, comment) {
		if strings.HasPrefix(line, "-A ") && !strings.Contains(line, "-j CNI-ISOLATION-STAGE-2") {
			return true
		}
	}
	return false
}
