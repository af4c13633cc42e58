// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// formerRules is what the standalone isolation plugin wrote for bridges, in the
// order of its documentation, for whoever has no binary of it any more.
func formerRules(bridges ...string) string {
	return `
	c='-m comment --comment "CNI isolation plugin rules"'
	for i in iptables ip6tables; do
		eval "$i -N CNI-ISOLATION-STAGE-1; $i -N CNI-ISOLATION-STAGE-2"
		eval "$i -I FORWARD -j CNI-ISOLATION-STAGE-1 $c"
		eval "$i -A CNI-ISOLATION-STAGE-1 -j RETURN $c; $i -A CNI-ISOLATION-STAGE-2 -j RETURN $c"
		for b in ` + strings.Join(bridges, " ") + `; do
			eval "$i -I CNI-ISOLATION-STAGE-1 -i $b ! -o $b -j CNI-ISOLATION-STAGE-2 $c"
			eval "$i -I CNI-ISOLATION-STAGE-2 -o $b -j DROP $c"
		done
	done`
}

// TestAdoptFormer takes over from the standalone isolation plugin, which stood
// behind upstream's firewall, while packets are on their way.
func TestAdoptFormer(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := isolationWorld(t, h, "deny") // as that plugin has it
		for _, e := range w.networks {
			e.network.Firewall = nil
		}
		w.call(t, h.Upstream(), "ADD")
		shell(t, h, formerRules("br1", "br2", "gone0"))
		w.check(t, usual, "with the former plugin")

		all := currents(across, w.networks[0], w.networks[1])
		all = slices.DeleteFunc(all, func(c current) bool { return c.tcp }) // whose attempts are too few in so short a time
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		flowing := make(chan []host.Stream)
		go func() { flowing <- flow(ctx, t, all) }()
		told := must(h.Run(h.Firewall, "restore"))(t)
		if want := "restored 0 attachments on 2 bridges, 2 adopted\n"; told != want {
			t.Errorf("%q, and not %q", told, want)
		}
		taken := state(t, h)
		if left := linesWith(taken, "CNI isolation plugin rules", "gone0"); left != nil {
			t.Errorf("left of the former plugin:\n%s", strings.Join(left, "\n"))
		}
		must(h.Run(h.Firewall, "restore"))(t)
		same(t, taken, state(t, h), "adopted twice")
		w.check(t, usual, "adopted")
		e := w.networks[0]
		must(callAs(h, e, e.server, "isolation", "CHECK"))(t)
		if overview := must(h.Run(h.Firewall, "status"))(t); strings.Count(overview, "(adopted)") != 2 {
			t.Errorf("status:\n%s", overview)
		}
		// The firewall comes first, and does not open what isolation keeps closed.
		must(callAs(h, e, e.server, "firewall", "ADD"))(t)
		must(callAs(h, e, e.peer, "firewall", "ADD"))(t)
		w.check(t, usual, "with the firewall's ADD and not yet that of isolation")
		for _, e := range w.networks {
			if e.isolates() {
				e.place = place{"same-bridge", "allow"}
			}
		}
		w.callChain(t, h, "ADD")
		w.check(t, usual, "made ours")
		if overview := must(h.Run(h.Firewall, "status"))(t); strings.Contains(overview, "(adopted)") {
			t.Errorf("status:\n%s", overview)
		}
		stop()
		judge(t, all, <-flowing)
		w.callChain(t, h, "DEL")
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}

// TestAdoptFails has a program fail that adopting needs. What isolated before does
// so after, and the next try finishes.
func TestAdoptFails(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		shell(t, h, "mkdir -p "+dataDir+"; mount -t tmpfs -o size=64k,mode=0700 tmpfs "+dataDir)
		must(h.Run(h.Firewall, "restore"))(t)
		w := isolationWorld(t, h, "deny")
		for _, e := range w.networks {
			e.network.Firewall = nil
		}
		w.call(t, h.Upstream(), "ADD")
		shell(t, h, formerRules("br1", "br2"))
		// What cannot be recorded stays as it is.
		shell(t, h, "d="+dataDir+"; "+full)
		if _, err := h.Run(h.Firewall, "restore"); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("adopting on a full disk: %v", err)
		}
		w.check(t, usual, "adopting on a full disk")
		shell(t, h, "umount "+dataDir)
		for _, program := range programs {
			for nth := 1; nth <= 3; nth++ {
				s := newShims(t, fault{program, nth, nth, "failure"})
				_, err := h.Run("env", "PATH="+string(s), h.Firewall, "restore")
				if befallen := s.count(t)[program] >= nth; befallen != (err != nil) {
					t.Errorf("%s failing at call %d of %d: %v", program, nth, s.count(t)[program], err)
				}
				w.check(t, usual, "adopting failed")
			}
		}
		must(h.Run(h.Firewall, "restore"))(t)
		if left := linesWith(state(t, h), "CNI isolation plugin rules"); left != nil {
			t.Errorf("left of the former plugin:\n%s", strings.Join(left, "\n"))
		}
		w.check(t, usual, "adopted")
	})
}

// TestAdoptOtherFamily takes over a bridge that a record isolates in one family, and the
// former plugin in both: then the table does for the other one.
func TestAdoptOtherFamily(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
		n.Subnets = n.Subnets[:1]
		c := plain(t, h, n, "container")
		shell(t, h, formerRules("br1"))
		n.Plain = false
		must(c.Call(h.Firewall, "ADD"))(t)
		for range 2 {
			must(h.Run(h.Firewall, "restore"))(t)
			rules := state(t, h)
			if strings.Contains(rules, "CNI isolation plugin rules") || !strings.Contains(rules, `isolated_bridges: element "br1"`) {
				t.Errorf("the former plugin isolates, or nobody does:\n%s", rules)
			}
			if !strings.Contains(rules, "-A CNI-PUBLISHED -o br1 ") {
				t.Errorf("published ports are closed that were open:\n%s", rules)
			}
		}
	})
}

// TestAdoptUpstream takes over upstream's bridges, whose containers then go.
func TestAdoptUpstream(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		w := newWorld(t, h, place{"isolated", "deny"}, place{"same-bridge", "deny"}, place{"same-bridge", "deny"})
		w.networks[2].alias = "unused"
		w.checkAllOpen(t)
		w.call(t, h.Upstream(), "ADD")
		w.check(t, usual, "upstream's")
		unused := w.networks[2]
		for _, c := range []*host.Container{unused.server, unused.peer} {
			must(c.Call(h.Upstream(), "DEL"))(t)
			unused.network.Plain = true
			ok(t, c.Del())
		}
		w.networks = w.networks[:2]
		must(h.Run(h.Firewall, "restore"))(t)
		if left := linesWith(state(t, h), "br3"); left != nil {
			t.Errorf("of a bridge with nobody on it: %q", left)
		}
		shell(t, h, "iptables -F; ip6tables -F; iptables -X; ip6tables -X")
		must(h.Run(h.Firewall, "restore"))(t)
		w.check(t, usual, "restored after a flush")
		for _, e := range w.networks {
			must(e.server.Call(h.Firewall, "DEL"))(t)
			e.network.Plain = true
			ok(t, e.server.Del())
			wantAdopted(t, h, e, true)
			must(e.peer.Call(h.Firewall, "DEL"))(t)
			wantAdopted(t, h, e, false)
		}
		same(t, before, state(t, h), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// wantAdopted wants a bridge isolated, or nothing left of it.
func wantAdopted(t *testing.T, h *host.Host, e *end, want bool) {
	t.Helper()
	if got := linesWith(state(t, h), e.network.Bridge+" ") != nil; got != want {
		t.Errorf("bridge %s is isolated: %t, and should be: %t\n%s", e.network.Bridge, got, want, state(t, h))
	}
}
