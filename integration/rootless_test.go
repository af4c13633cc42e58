// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestRootless has an ordinary user run the plugin, as rootless container engines do, with
// each backend but firewalld, which filters the machine's own network alone.
func TestRootless(t *testing.T) {
	t.Parallel()
	strictest := kind{forward: "DROP", filtered: filtered{"IPv4": true, "IPv6": true}}
	parts := map[string]part{
		"verdicts": func(t *testing.T, h *host.Host) { testVerdicts(t, h, strictest) },
		"lifecycle": func(t *testing.T, h *host.Host) {
			testLifecycles(t, h)
			testSilence(t, h)
		},
	}
	for _, b := range host.Backends {
		if b.Key == host.FirewalldZones {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			for name, body := range parts {
				t.Run(name, func(t *testing.T) { onRootless(t, b, body) })
			}
		})
	}
}

func onRootless(t *testing.T, b host.Backend, body part) {
	t.Helper()
	host.Rootless(t, func(t *testing.T, h *host.Host) {
		users := strings.Fields(string(must(os.ReadFile("/proc/self/uid_map"))(t)))
		if len(users) != 3 || users[0] != "0" || users[1] == "0" || users[2] != "1" {
			t.Fatalf("the user namespace has the users %v", users)
		}
		ok(t, h.Use(b))
		body(t, h)
	})
}

// testSilence wants no warning of what an ordinary user may not read.
func testSilence(t *testing.T, h *host.Host) {
	t.Helper()
	c := must(h.Add(host.Dual("net", "br9", 9, place{"isolated", "allow"}.firewall()), "container", nil))(t)
	for _, name := range []string{"ADD", "CHECK", "DEL"} {
		if o := verb(t, h, c, name); o.err != nil || o.stderr != "" {
			t.Errorf("%s: %v: %s", name, o.err, o.stderr)
		}
	}
}
