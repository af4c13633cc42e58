// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestSmallDisk has room for fewer and fewer files of records. An ADD works, or it fails and
// leaves nothing; a DEL always works.
func TestSmallDisk(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Sysctl("net/bridge/bridge-nf-call-iptables=0")) // so that ports get flags, which records remember
		c := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		before := operators(h, state(t, h))
		must(c.Call(h.Firewall, "ADD"))(t)
		after := operators(h, canonical(state(t, h)))
		must(c.Call(h.Firewall, "DEL"))(t)
		must(h.Run("bridge", "link", "set", "dev", portOf(t, c), "isolated", "off"))(t)
		worked, failed := 0, 0
		for inodes := 8; inodes > 0; inodes-- {
			what := fmt.Sprintf("a disk for %d files", inodes)
			ok(t, unix.Mount("tmpfs", dataDir, "tmpfs", 0, fmt.Sprintf("mode=700,nr_inodes=%d", inodes)))
			if _, err := c.Call(h.Firewall, "ADD"); err != nil {
				failed++
				same(t, before, operators(h, state(t, h)), "a failed ADD with "+what)
				if left := records(t, dataDir); left != nil {
					t.Errorf("%s: records left: %q", what, left)
				}
			} else {
				worked++
				same(t, after, operators(h, canonical(state(t, h))), "ADD with "+what)
				must(c.Call(h.Firewall, "CHECK"))(t)
			}
			must(c.Call(h.Firewall, "DEL"))(t)
			must(h.Run("bridge", "link", "set", "dev", portOf(t, c), "isolated", "off"))(t) // it goes with the port
			same(t, before, operators(h, state(t, h)), "DEL with "+what)
			ok(t, unix.Unmount(dataDir, 0))
		}
		if worked == 0 || failed == 0 {
			t.Errorf("%d worked, and %d failed", worked, failed)
		}
	})
}

// TestBadDisk has the disk of the records fail. A call does its work, or it fails and
// leaves all as it was.
func TestBadDisk(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := newNewcomer(t, h)
		log := filepath.Join(t.TempDir(), "log")
		for _, fault := range []string{
			"renameat,renameat2,rename:error=EIO", "fsync:error=EIO", "getdents64:error=EIO",
			"flock:error=ENOLCK", "unlinkat,unlink:error=EROFS",
		} {
			plugin := filepath.Join(t.TempDir(), "firewall")
			calls, _, _ := strings.Cut(fault, ":")
			ok(t, host.WriteScript(plugin, fmt.Sprintf("exec strace -f -qq -A -o '%s' -e trace=%s -e inject=%s '%s'\n",
				log, calls, fault, h.Firewall)))
			readOnly := strings.HasPrefix(fault, "unlink") // nothing can be taken back there
			for _, verb := range newcomerVerbs {
				n.call(t, plugin, verb, fault, readOnly)
			}
			if trace := string(must(os.ReadFile(log))(t)); !strings.Contains(trace, "(INJECTED)") {
				t.Errorf("%s befell nothing", fault)
			}
			ok(t, os.Remove(log))
		}
	})
}
