// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFirewalldUpgrade replaces upstream's plugin by ours on a host run by
// firewalld, with containers running. Upstream keeps their addresses in a zone,
// as we do, and isolates by iptables, behind firewalld's back.
func TestFirewalldUpgrade(t *testing.T) {
	t.Parallel()
	onFirewalld(t, commonPlaces, func(t *testing.T, r *ruled) {
		zones := must(r.f.Zones())(t)
		r.call(t, r.h.Upstream(), "ADD")
		r.call(t, r.h.Firewall, "CHECK")

		c := r.networks[1].server
		must(r.f.Cmd("--zone=trusted", "--remove-source="+c.IPv4+"/32"))(t)
		if message := complaint(t, c, r.h.Firewall); !strings.Contains(message, "lacks source "+c.IPv4) {
			t.Errorf("CHECK without a source: %s", message)
		}
		must(r.f.Cmd("--zone=trusted", "--add-source="+c.IPv4+"/32"))(t)
		shell(t, r.h, "iptables -F CNI-ISOLATION-STAGE-1")
		if message := complaint(t, c, r.h.Firewall); !strings.Contains(message, "CNI-ISOLATION-STAGE-1") {
			t.Errorf("CHECK without upstream's isolation: %s", message)
		}
		r.call(t, r.h.Upstream(), "ADD") // puts it back
		must(c.Call(r.h.Firewall, "CHECK"))(t)

		isolated := isolationOf(state(t, r.h))
		// One of theirs goes, and nothing of the others with it.
		must(c.Call(r.h.Firewall, "DEL"))(t)
		same(t, isolated, isolationOf(state(t, r.h)), "isolation after our DEL of one of upstream's")
		if left := must(r.f.Zones())(t); strings.Contains(left, c.IPv4+"/") || !strings.Contains(left, r.networks[1].peer.IPv4+"/") {
			t.Errorf("zones after our DEL of one of upstream's: %s", left)
		}

		// The first ADD of ours takes upstream's bridges over.
		own, theirs := r.networks[0], r.networks[2]
		for _, c := range []*host.Container{own.server, own.peer} {
			must(c.Call(r.h.Firewall, "ADD"))(t)
		}
		shell(t, r.h, `for i in iptables ip6tables; do
			$i -S FORWARD | grep CNI-ISOLATION-STAGE-1 | sed s/-A/-D/ | while read -r rule; do eval "$i $rule"; done
		done`)
		way := theirs.probes(probe{from: own.name(), source: own.place, client: own.peer})[0]
		if got := way.run(); got != string(host.Blocked) {
			t.Errorf("%s: %s after the first ADD of ours, and without upstream's rules", way, got)
		}

		r.protect(t, r.h)
		r.call(t, r.h.Firewall, "CHECK")
		r.check(t, "made ours, without upstream's isolation")
		must(r.h.Run(r.h.Firewall, "restore"))(t)
		if left := linesWith(must(r.h.Rules())(t), "CNI-ISOLATION-STAGE-"); left != nil {
			t.Errorf("upstream's isolation of bridges whose containers are all ours:\n%s", strings.Join(left, "\n"))
		}
		for _, e := range r.networks {
			for _, c := range []*host.Container{e.server, e.peer} {
				must(c.Call(r.h.Firewall, "DEL"))(t)
			}
		}
		same(t, zones, must(r.f.Zones())(t), "zones, after the last DEL")
		if left := must(r.h.Table())(t); left != "" {
			t.Errorf("after the last DEL:\n%s", left)
		}
	})
}

// isolationOf returns the rules of the stages.
func isolationOf(state string) string { return strings.Join(isolation(state), "\n") }
