// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewall"
)

// behindGateway moves the gateway of a container's bridge to the host's end of a veth, whose
// other end is a port of the bridge, as the bridge plugin does for a VLAN.
func behindGateway(t *testing.T, h *host.Host, c *host.Container, bridge string, n int) {
	t.Helper()
	behindNew(t, h, c, gatewayOnPort, bridge, n)
}

const gatewayOnPort = `ip link add $gateway type veth peer name gw-$bridge; ip link set gw-$bridge master $bridge up`

// behindNew moves it to an interface that commands make, by the names $gateway and $bridge. It
// is then the last interface of prevResult.
func behindNew(t *testing.T, h *host.Host, c *host.Container, commands, bridge string, n int) {
	t.Helper()
	gateway := bridge + ".5"
	shell(t, h, "bridge="+bridge+" gateway="+gateway+"\n"+commands)
	shell(t, h, fmt.Sprintf(`ip link set %[2]s up
		ip addr flush dev %[1]s; ip addr add 10.%[3]d.0.1/24 dev %[2]s; ip addr add fd00:%[3]d::1/64 dev %[2]s nodad
		ip -n %[4]s neigh flush dev eth0`, bridge, gateway, n, c.Name))
	var result map[string]any
	ok(t, json.Unmarshal(c.PrevResult, &result))
	result["interfaces"] = append(result["interfaces"].([]any), map[string]any{"name": gateway})
	c.PrevResult = must(json.Marshal(result))(t)
}

// TestGatewayOnPort has networks whose gateway is not their bridge: what is isolated is the
// interface that routes, and the containers reach it.
func TestGatewayOnPort(t *testing.T) {
	t.Parallel()
	// With firewalld the table is the same, and IPv6_rpfilter of its own drops more.
	onEachVariant(t, testGatewayOnPort)
	onNFTables(t, testGatewayOnPort)
}

func testGatewayOnPort(t *testing.T, h *host.Host) { testGateway(t, h, gatewayOnPort) }

func testGateway(t *testing.T, h *host.Host, commands string) {
	before := operators(h, state(t, h))
	ok(t, h.Sysctl("net/ipv4/ip_forward=1"))
	ok(t, h.Sysctl("net/ipv6/conf/all/forwarding=1"))
	var containers []*host.Container
	for i, policy := range []string{"same-bridge", "isolated"} {
		n, bridge := i+1, fmt.Sprintf("br%d", i+1)
		c := plain(t, h, host.Dual(fmt.Sprintf("net%d", n), bridge, n, place{policy, "allow"}.firewall()), fmt.Sprintf("container%d", n))
		ok(t, c.Serve(containerPort))
		behindNew(t, h, c, commands, bridge, n)
		containers = append(containers, c)
	}
	one, two := containers[0], containers[1]
	reach := func(when string, verdict host.Verdict) {
		t.Helper()
		for _, way := range []struct {
			from, to *host.Container
			address  string
		}{{one, two, two.IPv4}, {one, two, two.IPv6}, {two, one, one.IPv4}, {two, one, one.IPv6}} {
			if got := must(way.from.Send(way.to, way.address, containerPort, host.Patience))(t); got != verdict {
				t.Errorf("%s: from %s to %s: %s, want %s", when, way.from.Name, way.address, got, verdict)
			}
		}
	}
	reach("without the plugin", host.Open)
	for _, c := range containers {
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
	}
	reach("with the plugin", host.Blocked)
	for _, path := range must(explainer(t).Explain(one.Name, two.Name))(t).Paths {
		if path.Verdict != firewall.Blocked || path.From.Interface.Name != "br1.5" || path.To.Interface.Name != "br2.5" {
			t.Errorf("explain says %+v", path)
		}
	}
	for n, c := range containers {
		if got := must(c.Ping(fmt.Sprintf("10.%d.0.1", n+1), 2*time.Second))(t); got != host.Open {
			t.Errorf("%s to its gateway: %s", c.Name, got)
		}
		must(c.Call(h.Firewall, "DEL"))(t)
		ok(t, c.Del())
	}
	same(t, before, operators(h, state(t, h)), "after the last DEL")
}

// TestRenamedBridge renames a bridge under running containers: CHECK tells, and the next
// call isolates it under its new name.
func TestRenamedBridge(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "deny"})
		w.checkAllOpen(t)
		w.protect(t, h)
		w.check(t, usual, "with the plugin")
		w.checkExplained(t, "with the plugin", func(p probe) host.Verdict { return w.expected(p, usual) })
		shell(t, h, "ip link set br1 down; ip link set br1 name renamed; ip link set renamed up; ip addr add fd00:1::1/64 dev renamed nodad || :")
		complaint(t, w.networks[0].server, h.Firewall)
		p := w.probeFor(t, "peer1", "server2:80")
		path := wantWay(t, "renamed, and not restored", p, host.Verdict(p.run()))
		contains(t, "renamed, and not restored", fmt.Sprint(path.Verdict, path.Reasons), []string{"open", "rules are missing"})
		must(h.Run(h.Firewall, "restore"))(t)
		w.check(t, usual, "renamed")
		w.checkExplained(t, "renamed", func(p probe) host.Verdict { return w.expected(p, usual) })
		w.call(t, h.Firewall, "CHECK")
		if lines := linesWith(state(t, h), `"br1"`, " br1 "); lines != nil {
			t.Errorf("left of the old name:\n%s", strings.Join(lines, "\n"))
		}
		for _, c := range []*host.Container{w.networks[0].server, w.networks[0].peer} {
			must(c.Call(h.Firewall, "DEL"))(t)
		}
		if lines := linesWith(state(t, h), "renamed"); lines != nil {
			t.Errorf("left of the new name:\n%s", strings.Join(lines, "\n"))
		}
	})
}
