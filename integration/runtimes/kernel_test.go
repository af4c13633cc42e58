// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// kernel is all that a container may leave behind: every rule of nftables and so
// of iptables-nft, whoever's it is, the sources of firewalld's zones, links and
// addresses, and the files of the plugins.
func kernel(t *testing.T, h *host.Host) string {
	t.Helper()
	text := must(h.Ruleset())(t) + must(h.Sources())(t)
	for line := range strings.Lines(must(h.Run("ip", "-br", "address"))(t)) {
		// By name and addresses: whether a link is up, the kernel says a while later.
		words := strings.Fields(line)
		text += strings.Join(append(words[:1], words[2:]...), " ") + "\n"
	}
	return text + strings.Join(records(t), "\n")
}

// records are those of the plugin.
func records(t *testing.T) []string {
	t.Helper()
	return must(filepath.Glob("/run/cni/firewall/*/*.json"))(t)
}

// documented are the rules that the plugin says it leaves: those that an operator
// may have come to rely on, and where there is iptables.
var documented = []string{
	"chain CNI-ADMIN",
	"chain CNI-FORWARD",
	"chain CNI-FORWARD: counter jump CNI-ADMIN",
	"chain FORWARD: counter jump CNI-FORWARD",
}

// ours are the lines of what the kernel holds that can only be this plugin's.
func ours(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return !slices.ContainsFunc([]string{"CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION", "cni_firewall"},
			func(word string) bool { return strings.Contains(line, word) })
	})
}

// same ends the test unless the kernel holds what it held.
func same(t *testing.T, before, after, what string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Fatalf("%s (-before +after):\n%s", what, diff)
	}
}

// conflist returns what an engine wrote for a network.
func conflist(t *testing.T, path string) string {
	t.Helper()
	return string(must(os.ReadFile(path))(t))
}
