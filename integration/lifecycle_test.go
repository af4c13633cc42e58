// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// foreign are rules of somebody else, which nothing of the plugin's may touch.
const foreign = `for i in iptables ip6tables; do
	$i -N DOCKER-USER; $i -A DOCKER-USER -j RETURN
	$i -A FORWARD -j DOCKER-USER
	$i -A FORWARD -i wlan0 -m comment --comment "somebody's \"own\" rule" -j DROP
done`

// TestLifecycle takes networks of every kind from the first ADD to the last DEL.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	onEachBackend(t, testLifecycles)
}

func testLifecycles(t *testing.T, h *host.Host) {
	shell(t, h, foreign)
	before := state(t, h)
	chains := []string{"CNI-ADMIN"}
	for i, p := range everyPlace {
		n := host.Dual(fmt.Sprintf("net%d", i), fmt.Sprintf("br%d", i), i, p.firewall())
		switch p.Policy {
		case "same-bridge":
			n.Bridge += "~`*?[]{}^@!" // the kernel takes it, so it must pass iptables and back
		case "open":
			n.Bridge += "(;|#&$é)"
		}
		if i == 1 {
			n.Firewall["iptablesAdminChainName"] = "operators_own.chain"
			chains = append(chains, "operators_own.chain")
		}
		testLifecycle(t, h, n, n.Name)
		same(t, before, remaining(t, h, state(t, h), chains...), "after the last DEL of "+p.name())
	}
}

// testLifecycle attaches two containers to a network and detaches them.
func testLifecycle(t *testing.T, h *host.Host, n *host.Network, prefix string) {
	t.Helper()
	first := must(h.Add(n, prefix+"first", map[int]int{8080: 80}))(t)
	one := state(t, h)
	second := must(h.Add(n, prefix+"second", nil))(t)
	two := written(t, h)

	for _, c := range []*host.Container{first, second} {
		must(c.Call(h.Firewall, "ADD"))(t)
		ok(t, c.Check())
	}
	same(t, two, written(t, h), "after a second ADD and CHECK")

	ok(t, second.Del())
	same(t, one, state(t, h), "after the DEL of one of two containers")
	ok(t, first.Check())
	ok(t, second.Del())
	ok(t, first.Del())
	gone := state(t, h)
	ok(t, first.Del())
	same(t, gone, state(t, h), "after the second DEL")
	if lines := linesWith(gone, n.Bridge, first.IPv4, second.IPv4, first.IPv6, second.IPv6); lines != nil {
		t.Errorf("leaked:\n%s", strings.Join(lines, "\n"))
	}
}

// TestIsolationStays deletes containers one by one: a bridge is isolated as long
// as anything else is enslaved to it, whoever put it there. Ports of containers
// that were deleted do not count: the bridge plugin's DEL, which comes after
// ours, takes them away.
func TestIsolationStays(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"})
		w.checkAllOpen(t)
		w.protect(t, h)
		w.check(t, usual, "with the plugin")
		one, two := w.networks[0], w.networks[1]
		isolation := aboutBridge(state(t, h), "br1")
		stays := func(when string) {
			t.Helper()
			if diff := cmp.Diff(isolation, aboutBridge(state(t, h), "br1")); diff != "" {
				t.Errorf("%s (-before +after):\n%s", when, diff)
			}
		}
		goes := func(bridge, when string) {
			t.Helper()
			if lines := linesWith(state(t, h), bridge); lines != nil {
				t.Errorf("%s:\n%s", when, strings.Join(lines, "\n"))
			}
		}

		must(one.peer.Call(h.Firewall, "DEL"))(t)
		stays("with a container left")
		w.check(t, usual, "after DEL of one container, before the bridge plugin's")

		// The port of a container that has no record, and that of a gateway, which is none.
		shell(t, h, `ip netns add foreign; ip link add foreign0 type veth peer name eth0 netns foreign; ip link set foreign0 master br1
			ip link add gateway0 type veth peer name gateway1; ip link set gateway0 master br1`)
		ok(t, one.peer.Del())
		ok(t, one.server.Del())
		stays("with a port that is not the plugin's")
		shell(t, h, "ip link del foreign0")
		must(one.server.Call(h.Firewall, "DEL"))(t)
		goes("br1", "with no port")

		must(two.peer.Call(h.Firewall, "DEL"))(t)
		must(two.server.Call(h.Firewall, "DEL"))(t)
		goes("br2", "with the ports of deleted containers")
		w.protect(t, h)
		shell(t, h, "ip link del br2")
		must(two.server.Call(h.Firewall, "DEL"))(t)
		if linesWith(state(t, h), "br2") == nil {
			t.Error("a container that runs has lost its isolation with its bridge")
		}
		must(two.peer.Call(h.Firewall, "DEL"))(t)
		goes("br2", "of a bridge that is gone")
	})
}

// TestDelWithLittle deletes with less than ADD had. It has to succeed, for the
// container is gone either way, and touch nothing of the other container's.
func TestDelWithLittle(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall())
		must(h.Add(n, "other", nil))(t)
		before := state(t, h)
		c := must(h.Add(n, "container", nil))(t)
		added := state(t, h)

		noResult := `{"cniVersion":"1.0.0","name":"net","type":"firewall","ingressPolicy":"isolated"}`
		type call struct {
			name string
			del  func() (string, error)
			left []string // lines over those before its ADD
			add  bool     // it anew first
		}
		var calls []call
		if !h.Backend.HasTable() {
			none, onlyIPv4 := pathOf(t), pathOf(t, "iptables", "iptables-restore")
			calls = append(calls, call{"no iptables at all", func() (string, error) { return c.Call(h.Firewall, "DEL", "PATH="+none) },
				rulesWith(added, c.IPv4, c.IPv6), false})
			calls = append(calls, call{"no ip6tables", func() (string, error) { return c.Call(h.Firewall, "DEL", "PATH="+onlyIPv4) },
				rulesWith(added, c.IPv6), false})
		}
		for _, call := range append(calls, []call{
			{"no network namespace", func() (string, error) { return c.Call(h.Firewall, "DEL", "CNI_NETNS=") },
				nil, false},
			{"no prevResult", func() (string, error) { return host.Call(h.Firewall, "DEL", noResult, "container", c.NetNS) },
				nil, true},
			{"again", func() (string, error) { return c.Call(h.Firewall, "DEL") },
				nil, false},
		}...) {
			if call.add {
				must(c.Call(h.Firewall, "ADD"))(t)
			}
			stdout, err := call.del()
			if err != nil || stdout != "" {
				t.Errorf("%s: %q, %v", call.name, stdout, err)
			}
			sorted := cmpopts.SortSlices(strings.Compare)
			if diff := cmp.Diff(call.left, extra(before, state(t, h)), sorted, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: rules left (-want +got):\n%s", call.name, diff)
			}
		}
		same(t, before, state(t, h), "at last")

		shell(t, h, "wipe") // as after a reboot
		before = written(t, h)
		must(c.Call(h.Firewall, "DEL"))(t)
		same(t, before, written(t, h), "DEL without a rule")
	})
}

// extra returns the lines that a state has over another one.
func extra(before, after string) []string {
	var lines []string
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// TestPrevResult wants the result of the plugins before passed on as it came, in
// every version, with what the plugin does not know in it.
func TestPrevResult(t *testing.T) {
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		c := must(h.Add(host.Dual("net", "br0", 1, nil), "container", nil))(t)
		for version, ip := range map[string]string{
			"0.4.0": `{"version":"4", "address":"10.1.0.77/24","interface":1}`,
			"1.0.0": `{"address":"10.1.0.77/24","interface":1}`,
			"1.1.0": `{"address":"10.1.0.77/24","interface":1}`,
		} {
			result := `{ "ips" : [` + ip + `],` + "\n\t" + `"cniVersion":"` + version + `", "dns":{}, "interfaces":[
				{"name":"br0","mac":"\u0030a:<&>"},{"name":"eth0", "mtu":1500, "sandbox":"/run/netns/container"}],
				"unknown":{"b":1e400,"a":18446744073709551617,"a":null}, "routes":[{"dst":"0.0.0.0/0"}]}`
			stdin := `{"cniVersion":"` + version + `","name":"net","type":"firewall","prevResult":` + result + `}`
			for _, verb := range []string{"ADD", "CHECK", "DEL"} {
				want := ""
				if verb == "ADD" {
					want = result + "\n"
				}
				got, err := host.Call(h.Firewall, verb, stdin, c.Name, c.NetNS)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s in %s: %v (-want +got):\n%s", verb, version, err, diff)
				}
			}
		}
	})
}

// rulesWith returns the rules of iptables that have any of some words.
func rulesWith(text string, words ...string) []string {
	rules := slices.DeleteFunc(linesWith(text, words...), func(line string) bool { return !strings.HasPrefix(line, "-") })
	if len(rules) == 0 {
		return nil
	}
	return rules
}
