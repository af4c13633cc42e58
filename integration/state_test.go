// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// tables are those that the plugin can change: the filter tables of iptables, its
// own of nftables if it is there, and the sources of firewalld's zones if it runs,
// whatever the backend is.
func tables(t *testing.T, h *host.Host) string {
	t.Helper()
	text, own := must(h.Rules())(t), must(h.Table())(t)
	if own != "" {
		text += "# nftables\n" + own
	}
	if sources := must(h.Sources())(t); sources != "" {
		text += "# firewalld\n" + sources
	}
	return text
}

// state is all that the plugin can change on a host: the tables and the flag
// isolated of the bridges' ports.
func state(t *testing.T, h *host.Host) string {
	t.Helper()
	text := tables(t, h)
	for _, p := range ports(t, h) {
		if p.Isolated {
			text += fmt.Sprintf("# port %s of %s is isolated\n", p.Name, p.Bridge)
		}
	}
	return text
}

// port is an interface that is enslaved to a bridge.
type port struct {
	Name     string `json:"ifname"`
	Bridge   string `json:"master"`
	Isolated bool   `json:"isolated"`
}

func ports(t *testing.T, h *host.Host) []port {
	t.Helper()
	var all []port
	ok(t, json.Unmarshal([]byte(must(h.Ports())(t)), &all))
	// iproute2 5.10 lists bridges as ports of their own.
	return slices.DeleteFunc(all, func(p port) bool { return p.Name == p.Bridge })
}

// same ends the test unless the state is as it was.
func same(t *testing.T, before, after, what string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Fatalf("%s (-before +after):\n%s", what, diff)
	}
}

// counters are numbers that packets change, and the elements that count what is dropped.
var counters = regexp.MustCompile(`counter packets \d+ bytes \d+|\s# count \d+|` +
	`(set (dropped|dropped_forged|frames_dropped|frames_forged) \{[^}]*?)elements = \{[^}]*\}`)

// written is what shows that something was written even if it was what had been
// there: with iptables-nft a rule that is put back has a new handle, and an
// element of a set, which has none, has the generation grow.
func written(t *testing.T, h *host.Host) string {
	t.Helper()
	ruleset := must(h.Run("nft", "-a", "list", "ruleset"))(t)
	text := state(t, h) + counters.ReplaceAllString(ruleset, "$1")
	if h.Backend.HasTable() {
		text += fmt.Sprintf("# generation %d\n", must(h.Generation())(t))
	}
	return text
}

// writtenByPrograms is written for the filter tables of iptables alone.
func writtenByPrograms(t *testing.T, h *host.Host) string {
	t.Helper()
	text := must(h.Rules())(t)
	if strings.Contains(must(h.Run("iptables", "-V"))(t), "nf_tables") {
		for _, family := range []string{"ip", "ip6"} {
			listing := must(h.Run("nft", "-a", "list", "table", family, "filter"))(t)
			text += counters.ReplaceAllString(listing, "$1")
		}
	}
	return text
}

// canonical gives the rules of a state an order of their own where they need
// none: those of one bridge have their place, but not relative to those of
// another bridge, and neither have rules that all accept. Any other rule among
// them is a border that none is taken across.
func canonical(text string) string {
	lines := strings.Split(text, "\n")
	for start := 0; start < len(lines); {
		end := start + 1
		chain, key := movable(lines[start])
		for ; key != "" && end < len(lines); end++ {
			if c, k := movable(lines[end]); c != chain || k == "" {
				break
			}
		}
		slices.SortStableFunc(lines[start:end], func(a, b string) int {
			_, keyA := movable(a)
			_, keyB := movable(b)
			return strings.Compare(keyA, keyB)
		})
		start = end
	}
	return strings.Join(lines, "\n")
}

// movable returns what a rule of the plugin's chains is sorted by, or nothing if
// its place must be kept.
func movable(line string) (chain, key string) {
	words := strings.Fields(line)
	if len(words) < 4 || words[0] != "-A" {
		return "", ""
	}
	chain = words[1]
	switch aboutBridge := words[2] == "-i" || words[2] == "-o"; {
	case (strings.HasPrefix(chain, "CNI-ISOLATION-STAGE-") || chain == "CNI-PUBLISHED") && aboutBridge:
		return chain, words[3]
	case chain == "CNI-FORWARD" && strings.HasSuffix(line, " -j ACCEPT") && (words[2] == "-s" || words[2] == "-d"):
		return chain, line
	}
	return "", ""
}

// remaining takes from a state what may remain after the last DEL, and wants
// each line of it once in both families.
func remaining(t *testing.T, h *host.Host, text string, adminChains ...string) string {
	t.Helper()
	for _, line := range permanent(h, adminChains...) {
		if n := strings.Count(text, line+"\n"); n != 2 {
			t.Fatalf("%d times in two families: %s\n%s", n, line, text)
		}
	}
	return operators(h, text, adminChains...)
}

// operators takes from a state what may remain after the last DEL, if it is
// there.
func operators(h *host.Host, text string, adminChains ...string) string {
	text = withoutAdminInTable(text)
	for _, line := range permanent(h, adminChains...) {
		text = strings.ReplaceAll(text, line+"\n", "")
	}
	return text
}

// withoutAdminInTable takes the operator's chain out of the table: it stays, once it is
// there, as long as the table does.
func withoutAdminInTable(text string) string {
	for _, line := range []string{
		"chain CNI-ADMIN", `chain CNI-ADMIN: comment "the operator's own: jumped to ahead of all that is accepted, never emptied"`,
		"chain forward: jump CNI-ADMIN",
	} {
		text = strings.Replace(text, "\n"+line+"\n", "\n", 1)
	}
	return text
}

// permanent are the lines that upstream never removes either: the operator's
// chains and CNI-FORWARD, with what leads to them. Of nftables nothing remains.
func permanent(h *host.Host, adminChains ...string) []string {
	if h.Backend.HasTable() {
		return nil
	}
	lines := []string{"-N CNI-FORWARD", "-A " + jumpForward}
	if adminChains == nil {
		adminChains = []string{"CNI-ADMIN"}
	}
	for _, chain := range adminChains {
		lines = append(lines, "-N "+chain,
			`-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j `+chain)
	}
	return lines
}

// linesWith returns the lines of a state that contain one of the words.
func linesWith(text string, words ...string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			found = append(found, strings.TrimSuffix(line, "\n"))
		}
	}
	return found
}

// shell runs a script on the host, for what somebody else does to the rules. It
// can call flush and wipe for those of the backend in use: chains are left by the
// one, and nothing by the other.
func shell(t *testing.T, h *host.Host, script string) {
	t.Helper()
	spoil := `
		flush() {
			iptables -F; ip6tables -F
			nft delete table inet cni_firewall 2>/dev/null || :
			nft delete table bridge cni_firewall 2>/dev/null || :
		}
		wipe() { flush; iptables -X; ip6tables -X; }
	`
	if h.Backend.HasTable() {
		spoil = nftSpoil
	}
	must(h.Run("sh", "-ec", spoil+script))(t)
}
