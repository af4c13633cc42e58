// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// overtaking is what other programs do to iptables that opens its rules. "$i" is
// iptables or ip6tables.
var overtaking = []struct{ name, script, undo string }{
	{name: "a flush", script: "$i -F"},
	{name: "a flush, and all chains deleted", script: "$i -F; $i -X"},
	{"an accept ahead", "$i -I FORWARD -j ACCEPT", "$i -D FORWARD -j ACCEPT"},
	{"an accept of a container network ahead", "$i -I FORWARD -i br+ -j ACCEPT", "$i -D FORWARD -i br+ -j ACCEPT"},
	{"a jump to CNI-FORWARD ahead", "$i -I FORWARD -j CNI-FORWARD", "$i -D FORWARD -j CNI-FORWARD"},
	{"a goto to CNI-FORWARD ahead", "$i -I FORWARD -g CNI-FORWARD", "$i -D FORWARD -g CNI-FORWARD"},
	{
		"Docker's rules made anew", `$i -N DOCKER-USER; $i -N DOCKER-FORWARD; $i -A DOCKER-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
			$i -A DOCKER-FORWARD -i docker0 -j ACCEPT; $i -A DOCKER-USER -j RETURN; $i -I FORWARD -j DOCKER-FORWARD; $i -I FORWARD -j DOCKER-USER`,
		"$i -D FORWARD -j DOCKER-FORWARD; $i -D FORWARD -j DOCKER-USER; $i -F DOCKER-USER; $i -F DOCKER-FORWARD; $i -X DOCKER-USER; $i -X DOCKER-FORWARD",
	},
	{
		"ufw's rules made anew", `$i -N ufw-before-forward; $i -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
			$i -A ufw-before-forward -p udp -j ACCEPT; $i -I FORWARD -j ufw-before-forward`,
		"$i -D FORWARD -j ufw-before-forward; $i -F ufw-before-forward; $i -X ufw-before-forward",
	},
}

// TestNothingOvertakes has other programs flush iptables, or put themselves ahead, while packets
// come from another isolated bridge: none passes, and one ADD and "restore" put the rules
// of iptables right.
func TestNothingOvertakes(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		golden := canonical(must(h.Rules())(t))
		for _, o := range overtaking {
			w.nonePass(t, o.name, func() {
				script(t, h, o.script)
				must(w.networks[0].peer.Call(h.Firewall, "ADD"))(t)
				must(w.networks[0].peer.Call(h.Firewall, "CHECK"))(t)
				must(h.Run(h.Firewall, "restore"))(t)
			})
			w.call(t, h.Firewall, "CHECK")
			script(t, h, o.undo)
			must(h.Run(h.Firewall, "restore"))(t)
			same(t, golden, canonical(must(h.Rules())(t)), o.name+", undone")
		}
		w.check(t, usual, "in the end")
		w.nonePass(t, "another variant of iptables", func() {
			other := "nft"
			if strings.Contains(must(h.Run("iptables", "-V"))(t), "nf_tables") {
				other = "legacy"
			}
			ok(t, h.UseVariant(other))
			must(w.networks[0].peer.Call(h.Firewall, "ADD"))(t)
			must(h.Run(h.Firewall, "restore"))(t)
		})
	})
}

func script(t *testing.T, h *host.Host, text string) {
	t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		shell(t, h, "i="+program+"; "+text)
	}
}

// nonePass sends datagrams from one isolated bridge to another in both families while
// something happens, and wants none to arrive.
func (w *world) nonePass(t *testing.T, what string, meanwhile func()) {
	t.Helper()
	w.nonePassBetween(t, what, w.networks[1], w.networks[0], meanwhile)
}

func (w *world) nonePassBetween(t *testing.T, what string, from, to *end, meanwhile func()) {
	t.Helper()
	arrived := 0
	finish := stream(t, from.server, to.server, &arrived)
	meanwhile()
	finish()
	if arrived > 0 {
		t.Errorf("%s: %d datagrams arrived", what, arrived)
	}
}
