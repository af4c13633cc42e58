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

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// gc calls GC of the plugin alone, with the containers of a network that are
// still there.
func gc(h *host.Host, n *host.Network, valid ...*host.Container) (string, error) {
	list := []map[string]string{}
	for _, c := range valid {
		list = append(list, map[string]string{"containerID": c.Name, "ifname": "eth0"})
	}
	return gcOf(h.Firewall, n, list)
}

func gcOf(plugin string, n *host.Network, valid any) (string, error) {
	conf := n.Conf(map[string]any{"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})
	return host.Call(plugin, "GC", conf, "", "", "CNI_IFNAME=")
}

// TestGC tells the plugin which containers of one network are still there.
func TestGC(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "deny"})
		w.protect(t, h)
		golden, both := state(t, h), records(t, dataDir)
		e, other := w.networks[0], w.networks[1]
		attachment := func(c *host.Container, ifname string) map[string]string {
			return map[string]string{"containerID": c.Name, "ifname": ifname}
		}
		for _, c := range []struct {
			name       string
			valid      any
			goes       []*host.Container
			absent     bool
			refused    bool
			bridgeGoes bool
		}{
			{name: "an absent list", absent: true},
			{name: "a list that is none", valid: "none", refused: true},
			{name: "a list of what is no attachment", valid: []any{7}, refused: true},
			{name: "both", valid: []any{attachment(e.server, "eth0"), attachment(e.peer, "eth0")}},
			{name: "one", valid: []any{attachment(e.server, "eth0")}, goes: []*host.Container{e.peer}},
			{name: "another interface", valid: []any{attachment(e.server, "eth1"), attachment(e.peer, "eth0")}, goes: []*host.Container{e.server}},
			{name: "an unknown one", valid: []any{attachment(other.server, "eth0")}, goes: []*host.Container{e.server, e.peer}, bridgeGoes: true},
			{name: "an empty list", valid: []any{}, goes: []*host.Container{e.server, e.peer}, bridgeGoes: true},
			{name: "null", valid: nil, goes: []*host.Container{e.server, e.peer}, bridgeGoes: true},
		} {
			var err error
			var stdout string
			if c.absent {
				stdout, err = host.Call(h.Firewall, "GC", e.network.Conf(map[string]any{"cniVersion": "1.1.0"}), "", "")
			} else {
				stdout, err = gcOf(h.Firewall, e.network, c.valid)
			}
			switch {
			case c.refused && err == nil:
				t.Errorf("GC with %s succeeds", c.name)
			case c.refused:
				errorObject(t, stdout)
			case err != nil || stdout != "":
				t.Errorf("GC with %s: %v: %s", c.name, err, stdout)
			}
			gone := []string{}
			for _, g := range c.goes {
				gone = append(gone, g.IPv4+"/", g.IPv6+"/", fmt.Sprintf("isolated_ports: element %q", portOf(t, g)))
			}
			if c.bridgeGoes {
				// It is the only one that allows published ports, and that is isolated within.
				gone = append(gone, "br1", "CNI-PUBLISHED", "bridge cni_firewall", "frames", "speakers", "guarded_", "isolated_ports")
			}
			want := linesWith(golden, gone...)
			if diff := gocmp.Diff(want, extra(state(t, h), golden), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("GC with %s removes (-want +got):\n%s", c.name, diff)
			}
			if got := len(records(t, dataDir)); got != len(both)-len(c.goes) {
				t.Errorf("GC with %s: %d of %d records are left", c.name, got, len(both))
			}
			must(other.server.Call(h.Firewall, "CHECK"))(t)
			w.protect(t, h)
			same(t, canonical(golden), canonical(state(t, h)), "ADD after GC with "+c.name)
		}
	})
}

// TestGCOfAllPlugins has libcni call GC: of a runtime that lost its memory, so
// that only the plugin's records tell of the containers.
func TestGCOfAllPlugins(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		other := host.Dual("other", "br2", 2, place{"same-bridge", "allow"}.firewall())
		n.CNIVersion, other.CNIVersion = "1.1.0", "1.1.0"
		before := state(t, h)
		stays := must(h.Add(n, "stays", map[int]int{8080: 80}))(t)
		bystander := must(h.Add(other, "bystander", nil))(t)
		golden := state(t, h)
		must(h.Add(n, "goes", nil))(t)
		must(h.Add(n, "goes-too", nil))(t)
		for _, forgetful := range []bool{false, true} {
			if forgetful {
				ok(t, os.RemoveAll("/run/libcni"))
			}
			ok(t, h.GC(n, stays))
			same(t, golden, state(t, h), fmt.Sprintf("GC, of a runtime without its memory: %t", forgetful))
			if forgetful {
				break
			}
			must(h.Add(n, "goes-as-well", nil))(t)
		}
		ok(t, h.GC(n))
		must(bystander.Call(h.Firewall, "CHECK"))(t)
		if lines := linesWith(state(t, h), "br1", stays.IPv4+"/", stays.IPv6+"/"); lines != nil {
			t.Errorf("GC with an empty list leaves\n%s", strings.Join(lines, "\n"))
		}
		ok(t, h.GC(other))
		same(t, before, remaining(t, h, state(t, h)), "after the last GC")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// TestDelOfTheLast deletes a container in every way that a runtime has, with
// less than ADD had. Its isolation goes with it, and nothing of others'.
func TestDelOfTheLast(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"})
		w.protect(t, h)
		bystander := w.networks[0].server
		n := host.Dual("net", "br9", 9, place{"isolated", "allow"}.firewall())
		before := state(t, h)
		dels := map[string]func(c *host.Container) (string, error){
			"with all": func(c *host.Container) (string, error) { return c.Call(h.Firewall, "DEL") },
			"without prevResult": func(c *host.Container) (string, error) {
				return host.Call(h.Firewall, "DEL", n.Conf(nil), c.Name, c.NetNS)
			},
			"without CNI_NETNS": func(c *host.Container) (string, error) { return c.Call(h.Firewall, "DEL", "CNI_NETNS=") },
			"without either": func(c *host.Container) (string, error) {
				return host.Call(h.Firewall, "DEL", n.Conf(nil), c.Name, "")
			},
			"with a configuration that ADD refuses": func(c *host.Container) (string, error) {
				return host.Call(h.Firewall, "DEL", n.Conf(map[string]any{"ingressPolicy": "closed"}), c.Name, c.NetNS)
			},
			"with the configuration of another policy": func(c *host.Container) (string, error) {
				return host.Call(h.Firewall, "DEL", n.Conf(map[string]any{"ingressPolicy": "open"}), c.Name, c.NetNS)
			},
			"of a network namespace that is gone": func(c *host.Container) (string, error) {
				shell(t, h, "ip -n "+c.Name+" link del eth0; ip netns del "+c.Name)
				return c.Call(h.Firewall, "DEL")
			},
			"of a bridge that is gone": func(c *host.Container) (string, error) {
				shell(t, h, "ip link del br9")
				return c.Call(h.Firewall, "DEL")
			},
		}
		i := 0
		for name, del := range dels {
			i++
			c := must(h.Add(n, fmt.Sprintf("container%d", i), nil))(t)
			for _, time := range []string{"first", "second"} {
				if stdout, err := del2(del, c, time, h); err != nil || stdout != "" {
					t.Errorf("DEL %s, the %s time: %v: %s", name, time, err, stdout)
				}
				same(t, before, state(t, h), fmt.Sprintf("DEL %s, the %s time", name, time))
			}
			if left := records(t, dataDir); len(left) != 2 {
				t.Errorf("DEL %s leaves records: %q", name, left)
			}
			must(bystander.Call(h.Firewall, "CHECK"))(t)
			n.Plain = true
			ok(t, c.Del()) // the bridge plugin's
			n.Plain = false
		}
	})
}

// del2 deletes a second time in the plainest way, where the first time has taken
// away what makes the way another one.
func del2(del func(*host.Container) (string, error), c *host.Container, time string, h *host.Host) (string, error) {
	if time == "second" {
		return c.Call(h.Firewall, "DEL")
	}
	return del(c)
}

// TestPortWithoutRecord deletes the last container that has a record from a
// bridge that a container of an earlier plugin is on.
func TestPortWithoutRecord(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		n.Plain = true
		earlier := must(h.Add(n, "earlier", nil))(t)
		must(earlier.Call(h.Upstream(), "ADD"))(t)
		n.Plain = false
		isolation := func() []string { return linesWith(state(t, h), "-i br1", "-o br1") }
		for _, end := range []func(*host.Container) error{
			(*host.Container).Del,
			func(*host.Container) error { _, err := gc(h, n); return err },
		} {
			c := must(h.Add(n, "container", nil))(t)
			added := isolation()
			ok(t, end(c))
			if diff := gocmp.Diff(added, isolation()); diff != "" || added == nil {
				t.Errorf("the isolation of a bridge with a port of an earlier plugin (-before +after):\n%s", diff)
			}
			shell(t, h, "ip netns del container")
			must(earlier.Call(h.Firewall, "CHECK"))(t)
		}
		must(earlier.Call(h.Firewall, "DEL"))(t)
		same(t, before, remaining(t, h, state(t, h)), "DEL of the earlier plugin's container")
	})
}

// TestAddressOfAnother deletes a container whose address another one has by now.
func TestAddressOfAnother(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		for _, withResult := range []bool{true, false} {
			c1 := must(h.Add(n, "first", nil))(t)
			n.Plain = true
			ok(t, c1.Del()) // a runtime that forgot this plugin
			c2 := must(h.Add(n, "second", nil))(t)
			n.Plain = false
			// host-local goes round; what it gave to the first, it may give to the second.
			c2.PrevResult = json.RawMessage(strings.NewReplacer(
				c2.IPv4+"/", c1.IPv4+"/", c2.IPv6+"/", c1.IPv6+"/").Replace(string(c2.PrevResult)))
			must(c2.Call(h.Firewall, "ADD"))(t)
			gone := portOf(t, c1) // what guarded it goes
			withoutPort := func(text string) string {
				lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.Contains(line, gone) })
				return strings.Join(lines, "\n")
			}
			golden := withoutPort(state(t, h))
			if withResult {
				must(c1.Call(h.Firewall, "DEL"))(t)
			} else {
				must(host.Call(h.Firewall, "DEL", n.Conf(nil), c1.Name, ""))(t)
			}
			same(t, golden, withoutPort(state(t, h)), "DEL of the container that had the address before")
			must(c2.Call(h.Firewall, "CHECK"))(t)
			recordOf(t, dataDir, c2)
			must(c2.Call(h.Firewall, "DEL"))(t)
			if left := records(t, dataDir); left != nil {
				t.Errorf("records left: %q", left)
			}
			n.Plain = true
			ok(t, c2.Del())
			n.Plain = false
			shell(t, h, "ip netns del first; ip netns del second")
		}
	})
}

// TestStaleRecords has the bridges and ports of containers disappear, as where somebody
// restarts the network without the containers' runtime. Another container's DEL
// or "cni-firewall restore" removes what nobody else will delete.
func TestStaleRecords(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		for i, end := range []func(c *host.Container){
			func(c *host.Container) { must(c.Call(h.Firewall, "DEL"))(t) },
			func(c *host.Container) {
				must(h.Run(h.Firewall, "restore"))(t)
				must(c.Call(h.Firewall, "DEL"))(t)
			},
		} {
			var containers []*host.Container
			for j, p := range []place{{"isolated", "allow"}, {"same-bridge", "deny"}, {"open", "allow"}} {
				n := host.Dual(fmt.Sprintf("net%d%d", i, j), fmt.Sprintf("br%d%d", i, j), 10*i+j+1, p.firewall())
				containers = append(containers, must(h.Add(n, fmt.Sprintf("container%d%d", i, j), nil))(t))
			}
			shell(t, h, fmt.Sprintf("ip link del br%d0; ip link del br%d2; ip -n container%d0 link del eth0; ip -n container%d2 link del eth0", i, i, i, i))
			end(containers[1])
			same(t, before, remaining(t, h, state(t, h)), "after the bridges were gone")
			if left := records(t, dataDir); left != nil {
				t.Errorf("records left: %q", left)
			}
		}
	})
}

// neighbour is a second host namespace that has the same /run. Its plugins are
// those of the first, started in it.
type neighbour struct{ plugins string }

func newNeighbour(t *testing.T, h *host.Host) neighbour {
	t.Helper()
	shell(t, h, "ip netns add neighbour; ip -n neighbour link set lo up; ip netns exec neighbour sysctl -qw net.ipv6.conf.default.accept_dad=0")
	dir := t.TempDir()
	real := append(must(filepath.Glob(h.Plugins()+"/*"))(t), h.Firewall)
	for _, plugin := range real {
		script := "exec ip netns exec neighbour " + plugin + " \"$@\"\n"
		ok(t, host.WriteScript(filepath.Join(dir, filepath.Base(plugin)), script))
	}
	return neighbour{dir}
}

func (n neighbour) firewall() string { return filepath.Join(n.plugins, "firewall") }

func (n neighbour) rules(t *testing.T, h *host.Host) string {
	t.Helper()
	var text string
	for _, program := range []string{"iptables", "ip6tables"} {
		text += "# " + program + "\n" + must(h.Run("ip", "netns", "exec", "neighbour", program, "-S"))(t)
	}
	return text + must(h.TableIn("ip", "netns", "exec", "neighbour"))(t)
}

// TestTwoHosts has two host namespaces share /run, with networks, bridges,
// containers and addresses of the same names. Neither ever sees the other's.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		there := newNeighbour(t, h)
		empty := there.rules(t, h)
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		n.CNIVersion = "1.1.0"
		here := must(h.Add(n, "here", nil))(t)
		far := *n
		far.Path = []string{there.plugins}
		if h.Backend.Key == host.FirewalldZones {
			far.Backend = host.NFTables // the one firewalld filters here
		}
		away := must(h.Add(&far, "away", nil))(t)
		mine, its := state(t, h), there.rules(t, h)
		if len(records(t, dataDir)) != 2 || linesWith(its, "br1") == nil {
			t.Fatalf("not a record and rules in each: %q\n%s", records(t, dataDir), its)
		}
		unchanged := func(what string) {
			t.Helper()
			same(t, mine, state(t, h), what+": rules here")
			same(t, its, there.rules(t, h), what+": rules there")
		}
		for firewall, id := range map[string]string{h.Firewall: "here", there.firewall(): "away"} {
			v := look(t, firewall)
			if diff := gocmp.Diff([]string{id}, v.ids("net")); diff != "" || len(v.Warnings) > 0 {
				t.Errorf("status of the one that has %s: %v (-want +got):\n%s", id, v.Warnings, diff)
			}
			must(h.Run(firewall, "restore"))(t)
		}
		must(here.Call(h.Firewall, "ADD"))(t)
		must(away.Call(there.firewall(), "ADD"))(t)
		unchanged("ADD and restore")
		must(host.Call(h.Firewall, "DEL", n.Conf(nil), away.Name, ""))(t)
		must(host.Call(there.firewall(), "DEL", n.Conf(nil), here.Name, ""))(t)
		unchanged("DEL of the other's container")
		must(gc(h, n, here))(t)
		unchanged("GC with one's own container")

		must(gc(h, n))(t)
		mine = state(t, h)
		if lines := linesWith(mine, "br1", "10.1.0."); lines != nil {
			t.Errorf("GC leaves\n%s", strings.Join(lines, "\n"))
		}
		unchanged("GC with an empty list")
		must(away.Call(there.firewall(), "CHECK"))(t)
		must(here.Call(h.Firewall, "ADD"))(t)
		mine = state(t, h)
		must(gcOf(there.firewall(), n, []any{}))(t)
		same(t, mine, state(t, h), "GC of the other")
		must(here.Call(h.Firewall, "CHECK"))(t)
		same(t, empty, remaining(t, h, there.rules(t, h)), "GC of the other")

		// A bridge that one has not, and the other has, keeps its records.
		must(away.Call(there.firewall(), "ADD"))(t)
		shell(t, h, "ip link del br1; ip -n here link del eth0")
		must(h.Run(h.Firewall, "restore"))(t)
		must(away.Call(there.firewall(), "CHECK"))(t)
		if left := records(t, dataDir); len(left) != 1 || look(t, there.firewall()).ids("net") == nil {
			t.Errorf("records left: %q", left)
		}
		ok(t, exec.Command(there.firewall(), "restore").Run())
	})
}

// portOf returns the port of a container's bridge that is the container's.
func portOf(t *testing.T, c *host.Container) string {
	t.Helper()
	var result struct {
		Interfaces []struct{ Name, Sandbox string }
	}
	ok(t, json.Unmarshal(c.PrevResult, &result))
	for _, i := range result.Interfaces {
		if strings.HasPrefix(i.Name, "veth") && i.Sandbox == "" {
			return i.Name
		}
	}
	t.Fatalf("%s has no port: %s", c.Name, c.PrevResult)
	return ""
}
