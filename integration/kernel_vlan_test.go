// SPDX-License-Identifier: Apache-2.0

//go:build kernels

package integration

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// vlans are networks on one bridge that filters VLANs. Neither the flag of ports nor
// br_netfilter knows VLANs: so all of them are isolated within, or none is.
var vlans = map[string]struct {
	policy string
	// What makes the gateways ahead of the bridge plugin, which else makes a veth to a port
	// of the bridge.
	gateways string
}{
	"veth": {policy: "same-bridge"},
	"802.1q": {policy: "isolated", gateways: `ip link add br0 type bridge vlan_filtering 1; ip link set br0 up
		for vlan in 5 6; do
			bridge vlan add vid $vlan dev br0 self
			ip link add link br0 name br0.$vlan type vlan id $vlan; ip link set br0.$vlan up
		done`},
}

// TestVLANs has two networks on one bridge, each in a VLAN with a gateway of its own.
func TestVLANs(t *testing.T) {
	t.Parallel()
	for name, v := range vlans {
		t.Run(name, func(t *testing.T) {
			onKernel(t, func(t *testing.T, h *host.Host) { testVLANs(t, h, v.policy, v.gateways) })
		})
	}
}

func testVLANs(t *testing.T, h *host.Host, policy, gateways string) {
	usual.setUp(t, h)
	before := operators(h, state(t, h))
	shell(t, h, gateways)
	var all []*host.Container
	for i, name := range []string{"five", "six"} {
		n := host.Dual(name, "br0", i+1, place{policy, "allow"}.firewall())
		n.BridgeKeys = map[string]any{"vlan": 5 + i}
		all = append(all, serving(t, h, n, name), serving(t, h, n, name+"-peer"))
	}
	self, five, six := must(h.Self())(t), all[0], all[2]
	peers := among([2]*host.Container{all[1], five}, [2]*host.Container{all[3], six})
	closed := among([2]*host.Container{five, six}, [2]*host.Container{six, five})
	open := among([2]*host.Container{self, five}, [2]*host.Container{self, six})
	if policy == "isolated" {
		closed = append(closed, peers...)
	} else {
		open = append(open, peers...)
	}
	expectVerdicts(t, "without the plugin", append(closed, open...), host.Open)
	for _, c := range all {
		must(c.Call(h.Firewall, "ADD"))(t)
	}
	holds(t, h, all, closed, open)
	same(t, before, operators(h, state(t, h)), "after the last DEL")
}
