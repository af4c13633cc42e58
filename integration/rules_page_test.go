// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestRulesPage compares the listings in docs/RULES.md with those of a real host.
func TestRulesPage(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := &host.Network{
			Name: "blue", Bridge: "blue0", Subnets: []string{"10.4.0.0/24"},
			Firewall: map[string]any{"ingressPolicy": "same-bridge"},
		}
		must(h.Add(n, "1f3a9c40d2b7", nil))(t)
		switch h.Backend.Key {
		case host.NFTables:
			asDocumented(t, h, "nft list table inet cni_firewall", nil)
		case host.FirewalldZones:
			asDocumented(t, h, "nft list table inet cni_firewall", nil)
			asDocumented(t, h, "firewall-cmd --get-active-zones", nil)
		default:
			asDocumented(t, h, "iptables -S", byChain)
		}
	})
}

// byChain sorts rules by chain, in whose order the variants of iptables differ.
func byChain(rules string) string {
	lines := slices.Collect(strings.Lines(rules))
	slices.SortStableFunc(lines, func(a, b string) int {
		return slices.Compare(strings.Fields(a)[:2], strings.Fields(b)[:2])
	})
	return strings.Join(lines, "")
}

// asDocumented compares what a command prints with what the page says, in the
// order that sorted gives both.
func asDocumented(t *testing.T, h *host.Host, command string, sorted func(string) string) {
	t.Helper()
	words := strings.Fields(command)
	said, printed := documented(t, command), must(h.Run(words[0], words[1:]...))(t)
	if sorted != nil {
		said, printed = sorted(said), sorted(printed)
	}
	same(t, said, printed, command)
}

// documented returns what the page has behind a command.
func documented(t *testing.T, command string) string {
	t.Helper()
	page := string(must(os.ReadFile("../docs/RULES.md"))(t))
	_, block, found := strings.Cut(page, "```console\n$ sudo "+command+"\n")
	if !found {
		t.Fatalf("docs/RULES.md does not show %q", command)
	}
	listing, _, _ := strings.Cut(block, "```\n")
	return listing
}
