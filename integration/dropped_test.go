// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// droppings drop by a rule of another program what containers of the backend nftables send,
// and let in what answers.
var droppings = []struct {
	name, script, undo string
	says               []string
	problems           int // for two networks of two families
}{
	{
		"a final drop",
		`nft add table inet mine; nft add chain inet mine through '{ type filter hook forward priority 5; }'
		nft add rule inet mine through ct state established,related accept; nft add rule inet mine through iifname lo accept
		nft add rule inet mine through counter drop`,
		"nft delete table inet mine",
		[]string{"a rule of another program drops what the plugin accepts", "chain through of table inet mine drops by a rule what comes from"}, 2,
	}, {
		"a final drop behind a jump",
		`nft add table inet mine; nft add chain inet mine through '{ type filter hook forward priority 5; }'; nft add chain inet mine deep
		nft add rule inet mine through jump deep; nft add rule inet mine deep ct state established accept; nft add rule inet mine deep drop`,
		"nft delete table inet mine",
		[]string{"chain through of table inet mine drops by a rule what comes from"}, 2,
	}, {
		"iptables",
		`for i in iptables ip6tables; do $i -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; $i -A FORWARD -j DROP; done`,
		"iptables -F FORWARD; ip6tables -F FORWARD",
		[]string{"drops what the plugin accepts in another table", "chain FORWARD of table ip"}, 4,
	}, {
		"iptables-legacy, behind a jump",
		`for i in iptables-legacy ip6tables-legacy; do
			$i -N MINE; $i -A MINE -j DROP; $i -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; $i -A FORWARD -m comment --comment rest -j MINE
		done`,
		"for i in iptables-legacy ip6tables-legacy; do $i -F; $i -X; done",
		[]string{"a rule of iptables-legacy drops what the plugin accepts", "chain FORWARD of table ip"}, 4,
	},
}

// TestDroppedByRule has rules of other programs drop all that the plugin accepts: status
// and ADD say so, the cures let through what the plugin accepts and nothing else, and then
// nothing is said.
func TestDroppedByRule(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		for _, d := range droppings {
			w.check(t, usual, "before "+d.name)
			quiet(t, h, w, "before "+d.name)
			shell(t, h, d.script)
			closed := usual
			closed.forward = "DROP"
			w.check(t, closed, d.name)
			w.checkExplained(t, d.name, func(p probe) host.Verdict { return w.expected(p, closed) })
			problems := ill(t, h)
			if len(problems) != d.problems {
				t.Errorf("%s: %d problems: %q", d.name, len(problems), problems)
			}
			contains(t, d.name, problems[0].Problem, d.says)
			contains(t, "ADD", verb(t, h, w.networks[0].server, "ADD").stderr, d.says)
			for _, p := range problems {
				shell(t, h, p.Cure)
			}
			quiet(t, h, w, d.name+", cured")
			w.compare(t, d.name+", cured", func(p probe) host.Verdict { return expected(p, closed) })
			shell(t, h, d.undo)
		}
	})
}

// quiet ends the test if status or an ADD says anything.
func quiet(t *testing.T, h *host.Host, w *world, when string) {
	t.Helper()
	healthy(t, h, when)
	silentADDs(t, h, w, when)
}

// content ends the test if status tells of a problem, or an ADD says anything. That networks
// without a backend would get another one, status may say.
func content(t *testing.T, h *host.Host, w *world, when string) {
	t.Helper()
	o := finish(t, exec.Command(h.Firewall, "status"))
	if o.err != nil || !strings.Contains(o.stdout, "holds all the rules") {
		t.Fatalf("%s: %v: %s%s", when, o.err, o.stdout, o.stderr)
	}
	silentADDs(t, h, w, when)
}

func silentADDs(t *testing.T, h *host.Host, w *world, when string) {
	t.Helper()
	for _, e := range w.networks {
		if o := verb(t, h, e.server, "ADD"); o.err != nil || o.stderr != "" {
			t.Fatalf("%s: ADD: %v, %s", when, o.err, o.stderr)
		}
	}
}

// TestDroppedByFirewalld has the backend nftables on a host that firewalld closes.
func TestDroppedByFirewalld(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant("nft"))
		must(h.Bus())(t)
		h.Backend = host.Backend{Key: host.NFTables, Variant: "nft"}
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"same-bridge", "deny"})
		w.checkAllOpen(t)
		w.protect(t, h)
		content(t, h, w, "before firewalld")
		forwards := saveForwards(t, h)
		must(h.Firewalld("nftables", "public"))(t)
		forwards.restore(t)
		says := []string{"firewalld drops what no zone of its allows", "chain filter_FORWARD of table inet firewalld", `what comes from "br`}
		problems := ill(t, h)
		if len(problems) != 2 {
			t.Errorf("got %q", problems)
		}
		contains(t, "status", problems[0].Problem, says)
		server := w.networks[0].server
		contains(t, "ADD", verb(t, h, server, "ADD").stderr, says)
		ok(t, w.outside.Serve(containerPort))
		blocked := func(patience time.Duration) bool {
			verdict, _, err := server.Connect(w.outside.IPv4, containerPort, patience)
			return err != nil || verdict != host.Open
		}
		if !blocked(host.Patience) {
			t.Error("firewalld lets containers out")
		}
		for _, p := range problems {
			if out, err := exec.Command("sh", "-ec", p.Cure).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", p.Cure, err, out)
			}
		}
		content(t, h, w, "cured")
		if blocked(10 * host.Patience) {
			t.Errorf("still closed:\n%s", strings.TrimSpace(must(h.Run("nft", "list", "table", "inet", "firewalld"))(t)))
		}
	})
}
