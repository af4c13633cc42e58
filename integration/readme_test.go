// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestReadme compares what the README says the kernel holds with what it does.
func TestReadme(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := &host.Network{
			Name: "blue", Bridge: "blue0", Subnets: []string{"10.4.0.0/24"},
			Firewall: map[string]any{"ingressPolicy": "same-bridge"},
		}
		must(h.Add(n, "1f3a9c40d2b7", nil))(t)
		switch h.Backend.Key {
		case host.NFTables:
			same(t, readme(t, "```\ntable inet"), must(h.Run("nft", "list", "table", "inet", "cni_firewall"))(t), "the table")
		case host.FirewalldZones:
			zones := must(h.Run("firewall-cmd", "--get-active-zones"))(t)
			said := strings.ReplaceAll("\n"+readme(t, "    $ sudo firewall-cmd --get-active-zones\n"), "\n    ", "\n")
			same(t, said, "\n"+zones, "zones")
		default:
			rules := must(h.Run("iptables", "-S"))(t)
			_, own, _ := strings.Cut(rules, "-P OUTPUT ACCEPT\n")
			same(t, byChain(readme(t, "```\n-N CNI-ADMIN")), byChain(own), "rules")
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

// readme returns the block of the README that begins with a fence and the start of
// its first line, or what follows a prompt.
func readme(t *testing.T, beginning string) string {
	t.Helper()
	text := string(must(os.ReadFile("../README.md"))(t))
	at := strings.Index(text, beginning)
	if at < 0 {
		t.Fatalf("the README has no %q", beginning)
	}
	_, block, _ := strings.Cut(text[at:], "\n")
	end := "\n```\n"
	if strings.HasPrefix(beginning, " ") {
		end = "\n\n"
	}
	block, _, _ = strings.Cut(block, end)
	return block + "\n"
}
