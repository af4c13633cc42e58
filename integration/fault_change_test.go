// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFailedPolicyChange has an ADD fail that was to change the policy of a
// bridge. The policy in force stays the one that the last ADD, which succeeded,
// gave to all containers of the bridge.
func TestFailedPolicyChange(t *testing.T) {
	t.Parallel()
	changes := map[string][2]place{
		"opening":            {{"isolated", "deny"}, {"open", "allow"}},
		"opening the bridge": {{"isolated", "allow"}, {"same-bridge", "allow"}},
		"closing":            {{"same-bridge", "allow"}, {"isolated", "deny"}},
	}
	for name, change := range changes {
		for _, k := range []kind{usual, unfiltered} {
			t.Run(name+","+k.String(), func(t *testing.T) {
				t.Parallel()
				onEachBackend(t, func(t *testing.T, h *host.Host) { testFailedPolicyChange(t, h, k, change[0], change[1]) })
			})
		}
	}
}

func testFailedPolicyChange(t *testing.T, h *host.Host, k kind, from, to place) {
	k.setUp(t, h)
	w := newWorld(t, h, from, place{"same-bridge", "allow"})
	w.networks[1].alias = "another"
	w.checkAllOpen(t)
	w.protect(t, h)
	e := w.networks[0]
	before := canonical(state(t, h))
	eachFault(t, h, midway, func(what string, try trial) {
		e.become(to)
		end := try(e.server, "ADD")
		after := canonical(state(t, h))
		e.become(from)
		if end == failed && before != after {
			w.compare(t, "ADD with "+what, func(p probe) host.Verdict { return w.expected(p, k) })
			same(t, before, after, "ADD with "+what)
		}
		if isMilder(from, to) {
			must(e.server.Call(h.Firewall, "DEL"))(t)
			must(e.peer.Call(h.Firewall, "DEL"))(t)
			must(e.peer.Call(h.Firewall, "ADD"))(t)
		}
		must(e.server.Call(h.Firewall, "ADD"))(t)
		same(t, before, canonical(state(t, h)), "ADD without a fault")
	})
}

// TestFailedHealing has ADD fail that was to put rules in order. Whatever it did
// of that, no rule may be lost: the container runs on.
func TestFailedHealing(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		c := must(h.Add(host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "container", nil))(t)
		golden := state(t, h)
		for _, script := range []string{
			toEnd(jumpStage1), toEnd(jumpAdmin), toHead(stage1Return), toHead(stage2Return),
			"$i -I FORWARD -j ACCEPT", "$i -I CNI-ISOLATION-STAGE-1 -j ACCEPT", "$i -I CNI-FORWARD -j ACCEPT",
		} {
			for _, f := range midway.faults() {
				shell(t, h, "for i in iptables ip6tables; do "+script+"; done")
				damaged := state(t, h)
				call(t, h, c, "ADD", f)
				keeps(t, damaged, state(t, h), "after "+script+", ADD with "+f.String())
				must(c.Call(h.Firewall, "ADD"))(t)
				shell(t, h, `for i in iptables ip6tables; do for c in FORWARD CNI-ISOLATION-STAGE-1 CNI-FORWARD; do
					$i -D $c -j ACCEPT 2>/dev/null || true
				done; done`)
				same(t, canonical(golden), canonical(state(t, h)), "after "+script+", ADD without a fault")
			}
		}
	})
}

// TestFailedHealingOfOthers has the ADD of another container fail after all rules
// were flushed. What it put back of the isolation of those that run stays.
func TestFailedHealingOfOthers(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())
		must(h.Add(n, "container", nil))(t)
		golden := isolation(state(t, h))
		c := plain(t, h, n, "newcomer")
		shell(t, h, "for i in iptables ip6tables; do $i -F; $i -X; done")
		call(t, h, c, "ADD", fault{"ip6tables-restore", 1, 1, "failure"})
		call(t, h, c, "ADD", fault{"iptables-restore", 1, 1, "failure"})
		if diff := gocmp.Diff(golden, isolation(state(t, h))); diff != "" {
			t.Errorf("isolation, put back in one family by the one failed ADD and in the other by the other (-golden +now):\n%s", diff)
		}
		if lines := linesWith(state(t, h), c.IPv4+"/", c.IPv6+"/"); lines != nil {
			t.Errorf("accepted by an ADD that failed:\n%s", strings.Join(lines, "\n"))
		}
	})
}
