// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestNoProcesses has strace tell which programs a call starts: none with the
// backends that need none, by whatever path. That strace sees them is shown with
// iptables, of which TestProcesses says more.
func TestNoProcesses(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		c := plain(t, h, host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall()), "container")
		plugin := filepath.Join(t.TempDir(), "firewall")
		log := plugin + ".log"
		deleting := map[string]int{"iptables-nft": 2, "iptables-legacy": 4}[h.Backend.Name]
		ok(t, host.WriteScript(plugin, fmt.Sprintf("exec strace -f -qq -e trace=execve -e status=successful -o '%s' '%s' \"$@\"\n", log, h.Firewall)))
		for _, call := range []struct {
			verb     string
			programs int // with iptables, of both families
		}{{"ADD", 4}, {"ADD", 2}, {"CHECK", 2}, {"DEL", deleting}, {"DEL", 2}} {
			must(c.Call(plugin, call.verb))(t)
			own, want := 1, call.programs
			if h.Backend.HasTable() {
				own, want = 2, 0 // a shell starts it without PATH
			}
			trace := string(must(os.ReadFile(log))(t))
			if got := strings.Count(trace, "execve("); got != own+want {
				t.Errorf("%s starts %d programs, and not %d:\n%s", call.verb, got-own, want, trace)
			}
		}
	})
}
