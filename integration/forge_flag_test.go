// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFlagOfAnother has somebody else set the flag of a port, as the bridge plugin's
// portIsolation or libvirt does: it stays, whatever the plugin does with its own.
func TestFlagOfAnother(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("blue", "blue0", 1, map[string]any{})
		theirs, own := plain(t, h, n, "theirs"), plain(t, h, n, "own")
		flagged := ports(t, h)[0].Name
		shell(t, h, "bridge link set dev "+flagged+" isolated on")
		for _, s := range []struct {
			policy   string
			filtered bool // by br_netfilter
			flag     bool
		}{
			{"same-bridge", true, false}, {"isolated", true, false}, {"isolated", false, true}, {"isolated", true, false},
			{"isolated", false, true}, {"same-bridge", false, false}, {"isolated", false, true}, {"open", false, false},
		} {
			passing(s.filtered).setUp(t, h)
			n.Firewall = place{s.policy, "allow"}.firewall()
			for _, c := range []*host.Container{own, theirs} {
				must(c.Call(h.Firewall, "ADD"))(t)
				must(c.Call(h.Firewall, "CHECK"))(t)
			}
			when := fmt.Sprintf("%s, bridge-nf-call %d", s.policy, bit(s.filtered))
			expectFlags(t, h, when, flagged, s.flag)
			must(own.Call(h.Firewall, "DEL"))(t)
			must(own.Call(h.Firewall, "DEL"))(t)
			expectFlags(t, h, when+", after DEL of the other", flagged, s.flag)
			must(theirs.Call(h.Firewall, "DEL"))(t)
		}
		must(h.Run(h.Firewall, "restore"))(t)
		expectFlags(t, h, "in the end", flagged, false)
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// expectFlags wants the one port to have the flag in any case, and the other one as said.
func expectFlags(t *testing.T, h *host.Host, when, always string, other bool) {
	t.Helper()
	for _, p := range ports(t, h) {
		if want := p.Name == always || other; p.Isolated != want {
			t.Errorf("%s: port %s has the flag isolated %t, want %t", when, p.Name, p.Isolated, want)
		}
	}
}

// passing is a host whose bridges hand the frames of both families to the rules, or none.
func passing(frames bool) kind {
	return kind{forward: "ACCEPT", filtered: filtered{"IPv4": frames, "IPv6": frames}}
}
