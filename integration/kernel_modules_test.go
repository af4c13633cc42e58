// SPDX-License-Identifier: Apache-2.0

//go:build kernels

package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestMissingModules begins on a kernel that has loaded no module of nf_tables, and takes
// from it what the table needs: STATUS names what is missing, one after the other.
func TestMissingModules(t *testing.T) {
	onNFTables(t, func(t *testing.T, h *host.Host) {
		hidden := map[string]func(){}
		for _, name := range []string{"nft_ct", "nft_fib_inet", "nft_meta_bridge"} {
			hidden[name] = hideModule(t, h, name)
		}
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		named := regexp.MustCompile(`the kernel lacks the module (\w+)`)
		for len(hidden) > 0 {
			o := status(t, h.Firewall, n)
			o.coded(t, "STATUS without modules", 50, "modprobe")
			found := named.FindStringSubmatch(o.stdout)
			if found == nil || hidden[found[1]] == nil {
				t.Fatalf("of %d hidden modules none is named: %s", len(hidden), o.stdout)
			}
			verb(t, h, c, "ADD").refused(t, "ADD without modules", found[0])
			hidden[found[1]]()
			delete(hidden, found[1])
		}
		status(t, h.Firewall, n).silent(t, "STATUS with all modules")
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
	})
}

// hideModule takes the file of a module that is not loaded away, and returns what brings
// it back.
func hideModule(t *testing.T, h *host.Host, name string) (bringBack func()) {
	t.Helper()
	if strings.Contains("\n"+must(h.Run("cat", "/proc/modules"))(t), "\n"+name+" ") {
		t.Fatalf("the module %s is loaded already", name)
	}
	path := strings.TrimSpace(must(h.Run("modinfo", "-n", name))(t))
	away := filepath.Join(t.TempDir(), filepath.Base(path))
	must(h.Run("mv", path, away))(t)
	return func() { must(h.Run("mv", away, path))(t) }
}

// TestBridgeFilterLoads begins on a kernel without br_netfilter, and loads it under
// isolated networks: what the flag of their ports did, rules do from then on.
func TestBridgeFilterLoads(t *testing.T) {
	onVariant(t, "nft", func(t *testing.T, h *host.Host) {
		if _, err := os.Stat("/proc/sys/net/bridge"); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("br_netfilter is loaded already: %v", err)
		}
		var all []*host.Container
		var within []probe
		for i, backend := range []string{"nftables", "iptables"} {
			n := host.Dual(backend, "br"+backend, i+1, place{"isolated", "allow"}.firewall())
			n.Backend = backend
			one, two := serving(t, h, n, backend+"-1"), serving(t, h, n, backend+"-2")
			all = append(all, one, two)
			within = append(within, among([2]*host.Container{one, two}, [2]*host.Container{two, one})...)
		}
		expectVerdicts(t, "without the plugin", within, host.Open)
		check := func(when string, flagged bool) {
			t.Helper()
			expectVerdicts(t, when, within, host.Blocked)
			for _, c := range all {
				must(c.Call(h.Firewall, "CHECK"))(t)
			}
			for _, p := range ports(t, h) {
				if p.Isolated != flagged {
					t.Errorf("%s: the flag isolated of %s is %t", when, p.Name, p.Isolated)
				}
			}
		}
		for _, c := range all {
			must(c.Call(h.Firewall, "ADD"))(t)
		}
		check("without br_netfilter", true)
		ok(t, exec.Command("modprobe", "br_netfilter").Run())
		usual.setUp(t, h)
		expectVerdicts(t, "as br_netfilter comes", within, host.Blocked)
		must(h.Run(h.Firewall, "restore"))(t)
		check("with br_netfilter", false)
	})
}
