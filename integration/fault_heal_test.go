// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestFailedHealingOfTable has ADD fail that was to put the table in order. What
// is right stays, and the next ADD, of whichever container, isolates all.
func TestFailedHealingOfTable(t *testing.T) {
	t.Parallel()
	parts := map[string]part{}
	for name, script := range map[string]string{
		"deleted":                  "wipe",
		"flushed":                  "flush",
		"isolation flushed":        "nft flush chain $t isolation",
		"isolated_bridges flushed": "nft flush set $t isolated_bridges",
		"accept ahead":             "nft insert rule $t isolation accept",
		"no drop":                  "unrule isolation_stage_2 'jump drop_counted'",
	} {
		parts[name] = func(t *testing.T, h *host.Host) { testFailedHealingOfTable(t, h, script) }
	}
	onNFTablesInParts(t, parts)
}

func testFailedHealingOfTable(t *testing.T, h *host.Host, script string) {
	w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "deny"})
	w.checkAllOpen(t)
	w.protect(t, h)
	golden := state(t, h)
	eachFault(t, h, midway, func(what string, try trial) {
		what = "after " + script + ", ADD with " + what
		shell(t, h, script)
		damaged := state(t, h)
		try(w.networks[0].server, "ADD")
		now := state(t, h)
		if lines := extra(golden+damaged, now); lines != nil {
			t.Errorf("%s makes\n%s", what, strings.Join(lines, "\n"))
		}
		if lines := lost(golden, damaged, now); lines != nil {
			t.Errorf("%s loses\n%s", what, strings.Join(lines, "\n"))
		}
		must(w.networks[0].server.Call(h.Firewall, "ADD"))(t)
		if diff := gocmp.Diff(isolation(golden), isolation(state(t, h))); diff != "" {
			t.Fatalf("%s, then one ADD: isolation (-golden +now):\n%s", what, diff)
		}
		w.protect(t, h)
		same(t, golden, state(t, h), what+", then ADD of all")
	})
	w.check(t, usual, "after all")
}

// lost returns the lines that were right in a damaged state, and are gone now.
func lost(golden, damaged, now string) []string {
	var gone []string
	for _, line := range extra(now, damaged) {
		if strings.Contains(golden, line+"\n") {
			gone = append(gone, line)
		}
	}
	return gone
}

// TestFailedHealingOfOthersTable has the ADD of a newcomer fail after the table
// was deleted. Others are isolated by it or not, but wholly, and the newcomer has
// nothing of its own.
func TestFailedHealingOfOthersTable(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())
		must(h.Add(n, "container", nil))(t)
		golden := state(t, h)
		newcomer := plain(t, h, n, "newcomer")
		eachFault(t, h, single, func(what string, try trial) {
			shell(t, h, "wipe")
			end := try(newcomer, "ADD")
			now := state(t, h)
			if lines := linesWith(now, newcomer.IPv4+"/", newcomer.IPv6+"/"); lines != nil && end == failed {
				t.Errorf("accepted by an ADD that failed with %s:\n%s", what, strings.Join(lines, "\n"))
			}
			if got := isolation(now); got != nil {
				// Published ports may be closed until the next ADD.
				withoutPublished := cmpopts.IgnoreSliceElements(func(line string) bool { return strings.HasPrefix(line, "set published_ports: element") })
				if diff := gocmp.Diff(isolation(golden), got, withoutPublished); diff != "" {
					t.Errorf("isolation after ADD with %s (-golden +now):\n%s", what, diff)
				}
			}
			must(newcomer.Call(h.Firewall, "DEL"))(t)
			must(h.Run(h.Firewall, "restore"))(t)
			same(t, golden, state(t, h), "restore after ADD with "+what)
		})
	})
}
