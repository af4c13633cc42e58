// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestMissingPrograms calls the plugin on hosts that have not all of iptables.
func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		isolated := place{"isolated", "allow"}.firewall()
		isolated["backend"] = "iptables"
		networks := map[string]*host.Network{
			"dual": host.Dual("dual", "br0", 1, isolated),
			"IPv4": {Name: "ipv4", Bridge: "br4", Subnets: []string{"10.4.0.0/24"}, Firewall: isolated},
			"IPv6": {Name: "ipv6", Bridge: "br6", Subnets: []string{"fd00:6::/64"}, Firewall: isolated},
		}
		containers := map[string]*host.Container{}
		for name, n := range networks {
			n.Plain = true
			containers[name] = must(h.Add(n, name, nil))(t)
		}
		both := pathOf(t, programs...)
		for _, c := range []struct {
			container string
			path      string
			misses    string // nothing, or what ADD and CHECK must name
		}{
			{"dual", both, ""},
			{"IPv4", pathOf(t, "iptables", "iptables-restore"), ""},
			{"IPv6", pathOf(t, "ip6tables", "ip6tables-restore"), ""},
			{"dual", pathOf(t, "iptables", "iptables-restore"), "ip6tables"},
			{"dual", pathOf(t, "ip6tables", "ip6tables-restore"), "iptables"},
			{"dual", pathOf(t, "iptables", "iptables-restore", "ip6tables"), "ip6tables-restore"},
			{"dual", pathOf(t), "iptables"},
			{"IPv4", pathOf(t, "ip6tables", "ip6tables-restore"), "iptables"},
			{"IPv6", pathOf(t, "iptables", "iptables-restore"), "ip6tables"},
		} {
			before := state(t, h)
			stdout, err := containers[c.container].Call(h.Firewall, "ADD", "PATH="+c.path)
			switch {
			case c.misses == "":
				ok(t, err)
				must(containers[c.container].Call(h.Firewall, "CHECK", "PATH="+c.path))(t)
			case err == nil:
				t.Errorf("ADD of %s succeeds without %s", c.container, c.misses)
			default:
				if msg := errorObject(t, stdout).Msg; !slices.Contains(strings.FieldsFunc(msg, isNoWord), c.misses) {
					t.Errorf("ADD of %s without %s names it not: %s", c.container, c.misses, msg)
				}
				same(t, before, state(t, h), "ADD of "+c.container+" without "+c.misses)
			}
			must(containers[c.container].Call(h.Firewall, "DEL", "PATH="+c.path))(t)
			same(t, operators(h, before), operators(h, state(t, h)), "DEL of "+c.container)
		}
	})
}

func isNoWord(c rune) bool { return strings.ContainsRune(" ,:;", c) }

// TestIdlePrograms calls the plugin on a host whose iptables is /bin/true, which
// some put there for who insists on it: an ADD that changes nothing must not
// look like one that isolates.
func TestIdlePrograms(t *testing.T) {
	onVariant(t, "nft", func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br0", 1, place{"same-bridge", "allow"}.firewall())
		n.Plain = true
		c := must(h.Add(n, "container", nil))(t)
		dir := t.TempDir()
		for _, name := range programs {
			ok(t, os.Symlink("/bin/true", filepath.Join(dir, name)))
		}
		for _, verb := range []string{"ADD", "CHECK"} {
			stdout, err := c.Call(h.Firewall, verb, "PATH="+dir)
			if err == nil {
				t.Errorf("%s succeeds with idle programs", verb)
				continue
			}
			errorObject(t, stdout)
		}
	})
}

// TestProcesses counts the programs that a call starts, which is most of what it
// costs: a family's table is read once and written at most once, and what goes from
// iptables-nft goes without a program.
func TestProcesses(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, everyPlace...)
		for _, e := range w.networks {
			for _, call := range []struct {
				verb   string
				writes bool
				before string
			}{
				{"ADD", true, ""},
				{"ADD", false, ""},
				{"CHECK", false, ""},
				{"ADD", true, "iptables -F FORWARD; ip6tables -F FORWARD"},
				{"ADD", true, "iptables -F; ip6tables -F"},
				{"DEL", true, ""},
				{"DEL", false, ""},
			} {
				shell(t, h, call.before)
				s := newShims(t, fault{}).named(t)
				must(e.server.Call(h.Firewall, call.verb, "PATH="+string(s)))(t)
				want := map[string]int{"iptables": 1, "ip6tables": 1}
				if call.writes && (call.verb != "DEL" || strings.HasSuffix(t.Name(), "/legacy")) {
					maps.Copy(want, map[string]int{"iptables-restore": 1, "ip6tables-restore": 1})
				}
				if got := s.count(t); !maps.Equal(want, got) {
					t.Errorf("%s on %s, after %q: %v, and not %v", call.verb, e.name(), call.before, got, want)
				}
			}
		}
	})
}
