// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// ailment is something that goes wrong on a host, and that "cni-firewall status" is to
// tell of, with a cure which is one.
type ailment struct {
	name     string
	befall   string   // script
	says     []string // in the first problem
	cure     string   // of it
	others   int      // problems that come with it
	dry      bool     // the host still passes all packets that it should
	crippled bool     // what a network lost no cure brings back
	after    string   // script that puts the host back as it was, once it is cured
}

// ailments are those that befall a host with any backend.
var ailments = []ailment{
	{
		name: "rules flushed", befall: "flush",
		says: []string{"rules are missing, or another program changed them; restore them: "},
		cure: "cni-firewall restore",
	}, {
		name: "IPv4 not forwarded", befall: "sysctl -qw net.ipv4.ip_forward=0",
		says: []string{"the host does not forward packets; ", "the sysctl net.ipv4.ip_forward is 0"},
		cure: "sysctl -w net.ipv4.ip_forward=1",
	}, {
		name: "IPv6 not forwarded", befall: "sysctl -qw net.ipv6.conf.all.forwarding=0",
		says: []string{"the host does not forward packets; ", "the sysctl net.ipv6.conf.all.forwarding is 0"},
		cure: "sysctl -w net.ipv6.conf.all.forwarding=1",
	}, {
		name: "br_netfilter off", befall: "sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0",
		says: []string{"br_netfilter was switched on or off", "has the flag isolated false, and it must be true"}, cure: "cni-firewall restore",
	}, {
		name: "br_netfilter on", befall: "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1",
		says: []string{"br_netfilter was switched on or off", "has the flag isolated true, and it must be false"}, cure: "cni-firewall restore",
	}, {
		name: "bridge gone", befall: "for c in $(ip netns list | cut -d' ' -f1); do ! ip -n $c -4 addr show eth0 2>/dev/null | grep -q 'inet 10.1.' || ip -n $c link del eth0; done; ip link del br1", crippled: true,
		says: []string{"a bridge is gone", `bridge "br1" is gone`}, cure: "cni-firewall restore",
	},
}

// behindDrop befall a host whose FORWARD ufw or Docker has closed. With iptables
// that is no ailment by itself.
var (
	cutOff = []ailment{{
		name: "FORWARD closed", befall: closeBoth, dry: true,
	}, {
		name: "rules flushed, FORWARD closed", befall: "flush",
		says: []string{"rules are missing, or another program changed them; restore them: "},
		cure: "cni-firewall restore", others: 2,
		after: openBoth,
	}}
	overruled = []ailment{{
		name: "FORWARD closed", befall: "iptables -P FORWARD DROP",
		says: []string{
			"chain FORWARD of iptables", "has policy DROP", "an accept in another table cannot override it",
			`set "backend": "iptables" in the conflist`,
		},
		cure: "iptables$variant -P FORWARD ACCEPT",
	}, {
		name: "FORWARD closed to IPv6", befall: "ip6tables -P FORWARD DROP",
		says: []string{"chain FORWARD of ip6tables", "has policy DROP"},
		cure: "ip6tables$variant -P FORWARD ACCEPT",
	}, {
		name: "closed by a table", befall: "nft add table inet guard; nft add chain inet guard passing '{ type filter hook forward priority 5; policy drop; }'",
		says:  []string{"another table drops what the plugin accepts", "chain passing of table inet guard drops"},
		cure:  "nft chain inet guard passing '{ policy accept; }'",
		after: "nft delete table inet guard",
	}}
)

// TestStatusCures has each ailment befall a host, one after the other: before it,
// "cni-firewall status" is silent, with it, it says what is wrong, and after the very
// command that it names, it is silent again, and packets pass as they should.
func TestStatusCures(t *testing.T) {
	t.Parallel()
	backends := append(slices.Clone(host.Backends), host.Backend{Name: "nftables-beside-legacy", Key: host.NFTables, Variant: "legacy"})
	for _, b := range backends {
		t.Run(b.Name, func(t *testing.T) {
			onBackend(t, b, func(t *testing.T, h *host.Host) {
				w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"}, place{"isolated", "deny"})
				w.checkAllOpen(t)
				w.protect(t, h)
				special := overruled
				if !b.HasTable() {
					special = cutOff
				}
				for _, a := range slices.Concat(special, ailments) {
					if b.Variant == "legacy" {
						a.cure = strings.ReplaceAll(a.cure, "$variant", "-legacy")
					}
					a.cure = strings.ReplaceAll(a.cure, "$variant", "")
					a.befalls(t, h)
					if !a.dry && !a.crippled {
						w.check(t, usual, a.name+", cured")
					}
				}
			})
		})
	}
}

func (a ailment) befalls(t *testing.T, h *host.Host) {
	t.Helper()
	healthy(t, h, "before: "+a.name)
	shell(t, h, a.befall)
	if a.says == nil {
		healthy(t, h, a.name)
		return
	}
	problems := ill(t, h)
	if len(problems) != 1+a.others || problems[0].Cure != a.cure {
		t.Fatalf("%s: %d problems, and not %d: %q", a.name, len(problems), 1+a.others, problems)
	}
	contains(t, a.name, problems[0].Problem, a.says)
	shell(t, h, fmt.Sprintf("mkdir -p /run/sbin; ln -sf '%s' /run/sbin/cni-firewall; PATH=/run/sbin:$PATH; %s", h.Firewall, problems[0].Cure))
	healthy(t, h, "cured: "+a.name)
	shell(t, h, a.after)
}

// told is a problem as "cni-firewall status -o json" tells of it.
type told struct{ Problem, Cure string }

// healthy ends the test unless "cni-firewall status" is silent.
func healthy(t *testing.T, h *host.Host, when string) {
	t.Helper()
	o := finish(t, exec.Command(h.Firewall, "status"))
	if o.err != nil || o.stderr != "" || strings.Contains(o.stdout, "Problem:") || !isWell(o.stdout) {
		t.Fatalf("%s: %v: %s%s", when, o.err, o.stdout, o.stderr)
	}
}

// isWell reports whether "cni-firewall status" says so, or that there is nothing yet.
func isWell(said string) bool {
	return strings.Contains(said, "holds all the rules") || strings.HasPrefix(said, "No networks yet")
}

// ill returns the problems that "cni-firewall status" tells of, which are the same
// for people and for programs, and make it fail.
func ill(t *testing.T, h *host.Host) []told {
	t.Helper()
	people := finish(t, exec.Command(h.Firewall, "status"))
	programs := finish(t, exec.Command(h.Firewall, "status", "-o", "json"))
	var v struct {
		InForce  bool
		Problem  string
		Problems []told
	}
	ok(t, json.Unmarshal([]byte(programs.stdout), &v))
	if people.err == nil || programs.err == nil || v.InForce || len(v.Problems) == 0 || v.Problem != v.Problems[0].Problem {
		t.Fatalf("no problem: %s%s", people.stdout, programs.stdout)
	}
	for _, p := range v.Problems {
		if !strings.Contains(people.stdout, "\nProblem: "+p.Problem+"\nCure:    "+p.Cure+"\n") {
			t.Errorf("the table does not say %q: %s", p, people.stdout)
		}
	}
	return v.Problems
}

// TestStatusWithoutIPTables takes iptables away from a host. The package manager
// that brings it back is the test's.
func TestStatusWithoutIPTables(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		path := os.Getenv("PATH")
		dir, manager := pathOf(t, programs...), t.TempDir()
		ok(t, os.Setenv("PATH", dir))
		healthy(t, h, "before")

		script := "PATH=" + path + "\n[ \"$*\" = 'install iptables' ] || exit 1\n"
		for _, name := range programs {
			file := filepath.Join(dir, name)
			script += "ln -s " + must(os.Readlink(file))(t) + " " + file + "\n"
			ok(t, os.Remove(file))
		}
		ok(t, host.WriteScript(filepath.Join(manager, "apt-get"), script))
		problems := ill(t, h)
		if len(problems) != 2 || problems[0].Cure != problems[1].Cure {
			t.Fatalf("got %q", problems)
		}
		for i, name := range []string{"iptables, which IPv4", "ip6tables, which IPv6"} {
			contains(t, "without iptables", problems[i].Problem, []string{
				"the backend iptables lacks a program and cannot read or write its rules",
				name + " addresses need, is not installed",
			})
		}
		ok(t, os.Setenv("PATH", manager+":"+path))
		must(h.Run("sh", "-ec", problems[0].Cure))(t)
		ok(t, os.Setenv("PATH", dir))
		healthy(t, h, "cured")
	})
}

// TestStatusWithoutFirewalld stops firewalld, and starts it again, as the cure says,
// by the test's own means.
func TestStatusWithoutFirewalld(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant("nft"))
		must(h.Bus())(t)
		f := must(h.Firewalld("nftables", "trusted"))(t)
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		w.checkAllOpen(t)
		w.protect(t, h)
		healthy(t, h, "before")
		forwards := saveForwards(t, h)

		ok(t, f.Stop())
		problems := ill(t, h)
		if len(problems) != 1 || problems[0].Cure != "systemctl start firewalld" {
			t.Fatalf("got %q", problems)
		}
		contains(t, "stopped", problems[0].Problem, []string{"firewalld is stopped", "firewalld is not running"})
		ok(t, f.Start())
		problems = ill(t, h)
		if len(problems) != 1 || problems[0].Cure != "cni-firewall restore" {
			t.Fatalf("got %q", problems)
		}
		contains(t, "started", problems[0].Problem, []string{"rules are missing", "lacks source"})
		must(h.Run(h.Firewall, strings.Fields(problems[0].Cure)[1:]...))(t)
		healthy(t, h, "cured")
		forwards.restore(t)
		w.check(t, usual, "cured")
	})
}

// TestStatusDamagedRecord spoils a record, which by itself breaks nothing: it is
// a warning.
func TestStatusDamagedRecord(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		healthy(t, h, "before")
		file := recordOf(t, dataDir, c)
		ok(t, os.Truncate(file, 10))
		o := finish(t, exec.Command(h.Firewall, "status"))
		if o.err != nil || !strings.Contains(o.stdout, "holds all the rules") {
			t.Errorf("%v: %s", o.err, o.stdout)
		}
		contains(t, "damaged", o.stderr, []string{
			"this record is not valid", "add its container again", "leaving " + file + " alone", `run "rm ` + file + `"`,
		})
		must(c.Call(h.Firewall, "ADD"))(t)
		healthy(t, h, "added again")

		ok(t, os.Truncate(file, 10))
		ok(t, c.Del())
		_, cure, _ := strings.Cut(finish(t, exec.Command(h.Firewall, "status")).stderr, `: run "`)
		shell(t, h, strings.TrimSuffix(cure, "\"\n"))
		problems := ill(t, h) // the DEL could not know which rules were the container's
		if len(problems) != 1 || problems[0].Cure != "cni-firewall restore" {
			t.Fatalf("got %q", problems)
		}
		must(h.Run(h.Firewall, "restore"))(t)
		healthy(t, h, "removed")
	})
}

// TestStatusWithinHost says nothing of a host that does not forward where it need
// not: the only network is one that nothing leaves.
func TestStatusWithinHost(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		shell(t, h, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
		if problems := ill(t, h); len(problems) != 2 {
			t.Errorf("the host is the way out: %q", problems)
		}
		shell(t, h, "ip addr flush dev br1 scope global")
		healthy(t, h, "the host has no address on the bridge")
	})
}
