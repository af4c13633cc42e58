// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// masquerading is where the bridge plugin masquerades. Of a DEL without
// CNI_NETNS, as nerdctl and ctr call it, it leaves its rules there
// (containernetworking/plugins#810).
var masquerading = []string{"ip nat", "inet cni_plugins_masquerade"}

// kernel is all that a container may leave behind: every rule of nftables and so
// of iptables-nft, whoever's it is, the sources of firewalld's zones, links and
// addresses, and the files of the plugins. Some tables can be left out.
func kernel(t *testing.T, h *host.Host, except ...string) string {
	t.Helper()
	text := must(h.Ruleset(except...))(t) + must(h.Sources())(t)
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

// documented are the rules that the plugin says it leaves where it uses iptables:
// the operator's chain, and what leads there.
var documented = []string{
	"chain CNI-ADMIN",
	"chain CNI-FORWARD",
	"chain CNI-FORWARD: counter jump CNI-ADMIN",
	"chain FORWARD: counter jump CNI-FORWARD",
}

// keepsOnly ends the test if the plugin leaves other rules than it may.
func keepsOnly(t *testing.T, h *host.Host, keeps []string) {
	t.Helper()
	if diff := cmp.Diff(keeps, ours(kernel(t, h)), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("what the plugin leaves (-want +got):\n%s", diff)
	}
	if left := records(t); len(left) > 0 {
		t.Fatalf("what the plugin leaves: %q", left)
	}
}

// ours are the lines of what the kernel and firewalld hold that can only be this
// plugin's.
func ours(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return !slices.ContainsFunc([]string{"CNI-FORWARD", "CNI-ADMIN", "CNI-ISOLATION", "CNI-PUBLISHED", "cni_firewall", ": source "},
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

// removeBridges removes what no engine but its user does. Then it waits until
// the links of containers are gone: where DEL names no namespace, the kernel
// removes them, a while after that is gone.
func removeBridges(t *testing.T, h *host.Host, bridges ...string) {
	t.Helper()
	for _, bridge := range bridges {
		must(h.Run("ip", "link", "del", bridge))(t)
	}
	ok(t, host.Await(func() error {
		if links := must(h.Run("ip", "-br", "link", "show", "type", "veth"))(t); strings.Contains(links, "veth") {
			return errors.New(links)
		}
		return nil
	}))
}
