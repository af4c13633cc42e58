// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// unusable are the ways in which iptables is there and does not work: what a program does
// in the place of the real one, $real.
var unusable = map[string]string{
	"no table in the kernel": `echo "iptables v1.8.9 (legacy): can't initialize iptables table \` + "`" + `filter': ` +
		`Table does not exist (do you need to insmod?)" >&2; exit 3`,
	"no nf_tables for it": "", // the real program finds none: see stubs
	"no extensions":       `XTABLES_LIBDIR=/nowhere exec "$real" "$@"`,
	"no extension in the kernel": `case $0 in *-restore) cat >/dev/null; ` +
		`echo "Warning: Extension conntrack revision 0 not supported, missing kernel module?" >&2; ` +
		`echo "iptables-restore v1.8.11 (nf_tables): RULE_APPEND failed (No such file or directory)" >&2; exit 4;; esac; ` +
		`exec "$real" "$@"`,
}

// stubs returns a directory, for PATH, of programs that do not work, but for those that
// are named.
func stubs(t *testing.T, how string, working ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range programs {
		real := must(exec.LookPath(name))(t)
		script := "PATH=" + os.Getenv("PATH") + "\nreal=" + real + "\n" + unusable[how] + "\n"
		if unusable[how] == "" {
			script = fmt.Sprintf("%s=%s exec %s \"$@\"\n", withoutVariable, real, must(os.Executable())(t))
		}
		if slices.Contains(working, name) {
			script = "exec " + real + " \"$@\"\n"
		}
		ok(t, host.WriteScript(filepath.Join(dir, name), script))
	}
	return "PATH=" + dir
}

// TestUnusablePrograms has iptables there and not working. A network that names no backend
// gets nftables, and stays with it; one that names iptables is told what is wrong.
func TestUnusablePrograms(t *testing.T) {
	t.Parallel()
	for how := range unusable {
		t.Run(strings.ReplaceAll(how, " ", "-"), func(t *testing.T) {
			onVariant(t, "nft", func(t *testing.T, h *host.Host) { testUnusable(t, h, how) })
		})
	}
}

func testUnusable(t *testing.T, h *host.Host, how string) {
	w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"})
	w.checkAllOpen(t)
	a, b := w.networks[0].server, w.networks[1].server
	before := state(t, h)
	bad := stubs(t, how)
	call := func(c *host.Container, verb string) outcome {
		return finish(t, host.Command(h.Firewall, verb, c.Conf(), c.Name, c.NetNS, bad))
	}
	call(a, "DEL").silent(t, "DEL of what was never added")

	conf := w.networks[0].network
	conf.Firewall["backend"] = "iptables"
	o := call(a, "ADD")
	o.refused(t, "ADD with iptables", "iptables is installed and does not work")
	if code := errorObject(t, o.stdout).Code; code == 11 {
		t.Errorf("ADD with iptables: try again later: %s", o.stdout)
	}
	call(a, "CHECK").refused(t, "CHECK with iptables")
	same(t, before, state(t, h), "ADD with iptables")
	delete(conf.Firewall, "backend")

	o = call(a, "ADD")
	if o.err != nil || !strings.Contains(o.stderr, `going on with the backend "nftables"`) {
		t.Fatalf("ADD: %v: %s%s", o.err, o.stdout, o.stderr)
	}
	chose(t, h, true)
	call(a, "CHECK").silent(t, "CHECK")
	if o := call(w.networks[0].peer, "ADD"); o.err != nil || o.stderr != "" {
		t.Errorf("the next ADD: %v: %s%s", o.err, o.stdout, o.stderr)
	}
	status := finish(t, host.Command(h.Firewall, "STATUS", conf.Conf(map[string]any{"cniVersion": "1.1.0"}), "", "", bad))
	status.silent(t, "STATUS")
	for _, verb := range []string{"restore", "status"} {
		must(h.Run("env", bad, h.Firewall, verb))(t)
	}

	// Containers of iptables, from when it worked, stay isolated, whoever is added.
	must(b.Call(h.Firewall, "ADD"))(t)
	must(w.networks[1].peer.Call(h.Firewall, "ADD"))(t)
	w.check(t, usual, "with both backends")
	call(a, "ADD")
	w.check(t, usual, "after an ADD without iptables")
	o = call(b, "DEL")
	if o.err != nil || !strings.Contains(o.stderr, "iptables") {
		t.Errorf("DEL of what iptables has: %v: %s%s", o.err, o.stdout, o.stderr)
	}
	must(b.Call(h.Firewall, "DEL"))(t) // the record stayed, for a call that can
	must(w.networks[1].peer.Call(h.Firewall, "DEL"))(t)
	for _, c := range []*host.Container{a, w.networks[0].peer} {
		call(c, "DEL").silent(t, "DEL")
	}
	same(t, before, operators(h, state(t, h)), "after the last DEL")
	if left := records(t, dataDir); left != nil {
		t.Errorf("records left: %q", left)
	}
}

// TestUnusableFamily has iptables work, and ip6tables not. Only containers with IPv6
// addresses are the worse for it.
func TestUnusableFamily(t *testing.T) {
	onVariant(t, "nft", func(t *testing.T, h *host.Host) {
		bad := stubs(t, "no table in the kernel", "iptables", "iptables-restore")
		isolated := func() map[string]any { return place{"isolated", "allow"}.firewall() }
		ipv4 := plain(t, h, &host.Network{Name: "ipv4", Bridge: "br4", Subnets: []string{"10.4.0.0/24"}, Firewall: isolated()}, "ipv4")
		dual := plain(t, h, host.Dual("dual", "br0", 1, isolated()), "dual")
		before := state(t, h)
		for _, c := range []struct {
			container *host.Container
			nftables  bool
		}{{ipv4, false}, {dual, true}} {
			must(c.container.Call(h.Firewall, "ADD", bad))(t)
			chose(t, h, c.nftables)
			must(c.container.Call(h.Firewall, "CHECK", bad))(t)
			must(c.container.Call(h.Firewall, "DEL", bad))(t)
			must(h.Run("sh", "-ec", "for t in iptables ip6tables; do $t -F; $t -X; done"))(t)
			same(t, before, state(t, h), "DEL")
		}
	})
}

// TestSbin has iptables where it usually is, and a PATH without sbin.
func TestSbin(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		dir := "/usr/local/sbin"
		ok(t, host.Overlay(dir))
		n, m := host.Dual("dual", "br0", 1, place{"isolated", "allow"}.firewall()), host.Dual("other", "br8", 8, place{"isolated", "allow"}.firewall())
		c, other := plain(t, h, n, "container"), plain(t, h, m, "other")
		status := func(n *host.Network, path string) string {
			o := finish(t, host.Command(h.Firewall, "STATUS", n.Conf(map[string]any{"cniVersion": "1.1.0"}), "", "", path))
			o.silent(t, "STATUS with "+path)
			return o.stderr
		}
		bin := "PATH=/usr/bin:/bin"
		must(c.Call(h.Firewall, "ADD", bin))(t)
		chose(t, h, true)
		for _, name := range programs {
			ok(t, os.Symlink(must(exec.LookPath(name))(t), filepath.Join(dir, name)))
		}
		for _, path := range []string{bin, "PATH="} {
			if said := status(n, path); said != "" {
				t.Errorf("STATUS of a network that keeps its backend: %s", said)
			}
			contains(t, "STATUS", status(m, path), []string{`gets "iptables" here`, `the records of this host name ["nftables"]`})
		}
		o := finish(t, host.Command(h.Firewall, "ADD", other.Conf(), other.Name, other.NetNS, bin))
		contains(t, "ADD", o.stderr, []string{`gets "iptables" here`})
		chose(t, h, false)
		if said := status(m, bin); said != "" {
			t.Errorf("STATUS with records of both backends: %s", said)
		}
		must(other.Call(h.Firewall, "DEL", bin))(t)

		// What has records stays where it is.
		must(c.Call(h.Firewall, "ADD", bin))(t)
		if lines := linesWith(must(h.Rules())(t), c.IPv4); lines != nil {
			t.Errorf("the network moved: %q", lines)
		}
	})
}
