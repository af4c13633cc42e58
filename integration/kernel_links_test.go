// SPDX-License-Identifier: Apache-2.0

//go:build kernels

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestGatewayOnBridge has gateways on interfaces that stand on their bridge.
func TestGatewayOnBridge(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"macvlan mode bridge", "ipvlan mode l2"} {
		t.Run(strings.Fields(kind)[0], func(t *testing.T) {
			onNFTables(t, func(t *testing.T, h *host.Host) {
				testGateway(t, h, "ip link add link $bridge name $gateway type "+kind)
			})
		})
	}
}

// TestVRF has a bridge in a VRF, whose networks another bridge reaches by leaked routes.
func TestVRF(t *testing.T) {
	t.Parallel()
	onKernel(t, testVRF)
}

func testVRF(t *testing.T, h *host.Host) {
	usual.setUp(t, h)
	before := operators(h, state(t, h))
	shell(t, h, `ip link add red type vrf table 10; ip link set red up
		for i in 1 3; do ip link add br$i type bridge; ip link set br$i master red; ip link set br$i up; done`)
	n := func(i int, policy string) *host.Network {
		return host.Dual(fmt.Sprintf("net%d", i), fmt.Sprintf("br%d", i), i, place{policy, "allow"}.firewall())
	}
	network1 := n(1, "same-bridge")
	one, peer := serving(t, h, network1, "one"), serving(t, h, network1, "peer")
	two, third := serving(t, h, n(2, "isolated"), "two"), serving(t, h, n(3, "same-bridge"), "third")
	shell(t, h, `for f in '-4 10.%s.0.0/24' '-6 fd00:%s::/64'; do set -- $f
		for i in 1 3; do ip $1 route replace $(printf $2 $i) dev br$i; done
		ip $1 route replace $(printf $2 2) dev br2 table 10
	done`)
	between := among([2]*host.Container{one, two}, [2]*host.Container{two, one})
	within := among([2]*host.Container{peer, one})
	expectVerdicts(t, "without the plugin", append(between, within...), host.Open)
	running := []*host.Container{one, peer, two}
	for _, c := range running {
		must(c.Call(h.Firewall, "ADD"))(t)
	}
	verb(t, h, third, "ADD").refused(t, "ADD of a second network in the VRF", `"red"`, `"br1"`)
	holds(t, h, running, between, within)
	ok(t, third.Del())
	same(t, before, operators(h, state(t, h)), "after the last DEL")
}

// TestDummyPort has a port on a bridge that is nobody's: it keeps no bridge isolated.
func TestDummyPort(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		before := operators(h, state(t, h))
		c := plain(t, h, host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall()), "container")
		shell(t, h, "ip link add nobody type dummy; ip link set nobody master br1 up")
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
		if linesWith(state(t, h), "br1") == nil {
			t.Error("the bridge is not isolated")
		}
		must(c.Call(h.Firewall, "DEL"))(t)
		same(t, before, operators(h, state(t, h)), "after DEL, with a dummy on the bridge")
	})
}
