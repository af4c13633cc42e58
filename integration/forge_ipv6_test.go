// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// byHand gives an IPv4-only network, and a container of it, IPv6 without telling the plugin.
const byHand = `
	ip addr add fd00:%[1]d::1/64 dev %[2]s nodad
	ip -n %[3]s addr add fd00:%[1]d::2/64 dev eth0 nodad
	ip -n %[3]s -6 route replace default via fd00:%[1]d::1
`

// TestIPv6ByHand has containers of networks that have only IPv4 send IPv6: to an isolated
// network that has it, and to each other, once their bridges have a prefix.
func TestIPv6ByHand(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		add := func(name string, n, families int) *host.Container {
			network := host.Dual(name, name+"0", n, place{"same-bridge", "allow"}.firewall())
			network.Subnets = network.Subnets[:families]
			c := plain(t, h, network, name)
			ok(t, c.Serve(containerPort))
			return c
		}
		red, blue, dual := add("red", 1, 1), add("blue", 2, 1), add("dual", 3, 2)
		shell(t, h, fmt.Sprintf(byHand, 1, "red0", "red")+fmt.Sprintf(byHand, 2, "blue0", "blue"))
		red.IPv6, blue.IPv6 = "fd00:1::2", "fd00:2::2"
		probes := oneAnother(red, blue, dual)
		expectVerdicts(t, "without the plugin", probes, host.Open)
		for _, c := range []*host.Container{red, blue, dual} {
			must(c.Call(h.Firewall, "ADD"))(t)
			must(c.Call(h.Firewall, "CHECK"))(t)
		}
		expectVerdicts(t, "with the plugin", probes, host.Blocked)
	})
}

// oneAnother has each of several containers call each other one by IPv6.
func oneAnother(all ...*host.Container) []probe {
	var probes []probe
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			for _, protocol := range protocols {
				probes = append(probes, probe{
					from: from.Name, to: to.Name, path: direct, family: "IPv6", protocol: protocol,
					client: from, server: to, address: to.IPv6, port: containerPort,
				})
			}
		}
	}
	return probes
}

func expectVerdicts(t *testing.T, when string, probes []probe, verdict host.Verdict) {
	t.Helper()
	want := map[string]string{}
	for _, p := range probes {
		want[p.String()] = string(verdict)
	}
	if diff := difference(probes, want); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", when, diff)
	}
}
