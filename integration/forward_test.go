// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// guards are tables of others that drop what they do not accept themselves.
var guards = []struct {
	name, variant string
	close, open   string // scripts
	word          string // that tells which it is
}{
	{
		name: "an nftables table", variant: "nft", word: "guard",
		close: "nft add table inet guard; nft add chain inet guard passing '{ type filter hook forward priority 5; policy drop; }'",
		open:  "nft delete table inet guard",
	}, {
		name: "an nftables table ahead of it", variant: "nft", word: "guard",
		close: "nft add table ip guard; nft add chain ip guard passing '{ type filter hook forward priority -200; policy drop; }';" +
			"nft add table ip6 guard; nft add chain ip6 guard passing '{ type filter hook forward priority -200; policy drop; }'",
		open: "nft delete table ip guard; nft delete table ip6 guard",
	},
	{name: "iptables-nft", variant: "nft", word: "filter", close: closeBoth, open: openBoth},
	{name: "iptables-legacy", variant: "legacy", word: "filter", close: closeBoth, open: openBoth},
}

const (
	closeBoth = "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP"
	openBoth  = "iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT"
)

// TestForwardDropped has another table drop what is forwarded, which no table of
// the plugin's can open. It works, isolates, and tells why nothing gets through.
func TestForwardDropped(t *testing.T) {
	t.Parallel()
	for _, g := range guards {
		t.Run(g.name, func(t *testing.T) {
			b := host.Backend{Name: "nftables", Key: host.NFTables, Variant: g.variant}
			onBackend(t, b, func(t *testing.T, h *host.Host) {
				w := newWorld(t, h, everyPlace...)
				w.checkAllOpen(t)
				w.protect(t, h)
				one := w.networks[0]
				quiet := func(when string) {
					t.Helper()
					if o := verb(t, h, one.peer, "ADD"); o.err != nil || o.stderr != "" {
						t.Errorf("%s: ADD: %v: %s", when, o.err, o.stderr)
					}
					status(t, h.Firewall, one.network).silent(t, "STATUS "+when)
					w.check(t, usual, when)
				}
				quiet("without another table")

				shell(t, h, g.close)
				o := verb(t, h, one.peer, "ADD")
				if o.err != nil || o.stdout != string(one.peer.PrevResult)+"\n" {
					t.Errorf("ADD: %v: %s%s", o.err, o.stdout, o.stderr)
				}
				contains(t, "ADD", o.stderr, []string{g.word})
				status(t, h.Firewall, one.network).coded(t, "STATUS", 51, g.word)
				w.call(t, h.Firewall, "CHECK")
				w.check(t, closed, "behind "+g.name)
				w.checkExplained(t, "behind "+g.name, func(p probe) host.Verdict { return w.expected(p, closed) })

				shell(t, h, g.open)
				quiet("after all")
			})
		})
	}
}
