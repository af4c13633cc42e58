// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestListings changes what tests look at, one thing after the other. What was
// listed before must not be taken for what is there now.
func TestListings(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		shell(t, h, "ip link add br0 type bridge; ip link add port0 type veth peer name end0; ip link set port0 master br0")
		seen := map[string]string{}
		for _, change := range []string{
			"true",
			"iptables -I FORWARD -i br0 -j DROP",
			"iptables -I FORWARD -i br0 -j DROP; iptables -D FORWARD 1; iptables -I FORWARD -i br1 -j DROP",
			"ip6tables -P FORWARD DROP",
			"ip6tables -N CHAIN",
			"nft 'table inet cni_firewall { set s { type ifname; }; }'",
			"nft add element inet cni_firewall s '{ br0 }'",
			"nft 'delete element inet cni_firewall s { br0 }; add element inet cni_firewall s { br1 }'",
			"bridge link set dev port0 isolated on",
		} {
			shell(t, h, change)
			now := state(t, h)
			if before, found := seen[now]; found {
				t.Errorf("after %q the state is as after %q:\n%s", change, before, now)
			}
			seen[now] = change
			rules := "# iptables\n" + must(h.Run("iptables", "-S"))(t) +
				"# ip6tables\n" + must(h.Run("ip6tables", "-S"))(t)
			same(t, rules, must(h.Rules())(t), "rules after "+change)
			same(t, must(h.Run("bridge", "-j", "-d", "link", "show"))(t), must(h.Ports())(t), "ports after "+change)
			same(t, must(h.TableIn("env"))(t), must(h.Table())(t), "table after "+change)
		}
		shell(t, h, "nft delete table inet cni_firewall")
		same(t, "", must(h.Table())(t), "table that was deleted")
	})
}

// TestForward attaches the same containers twice. The second time their forwards
// are loaded, and must be to portmap, and to packets, what portmap's own are.
func TestForward(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		ok(t, os.Unsetenv(host.ForwardsVariable)) // this process is the host
		end := must(host.ShareForwards())(t)
		defer func() { ok(t, end()) }()
		nat := func() string {
			return must(h.Run("iptables", "-t", "nat", "-S"))(t) + must(h.Run("ip6tables", "-t", "nat", "-S"))(t)
		}
		w := newWorld(t, h, place{"open", "allow"}, place{"same-bridge", "deny"})
		w.checkAllOpen(t)
		portmaps := nat()
		w.eachContainer(t, (*host.Container).Del)
		shell(t, h, `rm -r /run/host-local; ip link del br1; ip link del br2
			for i in iptables ip6tables; do $i -t nat -F; $i -t nat -X; done`)

		var networks []*host.Network
		for _, e := range w.networks {
			networks = append(networks, e.network)
		}
		ok(t, h.Forward("2-networks", networks, func() error {
			w.eachContainer(t, (*host.Container).Add)
			same(t, portmaps, nat(), "forwards, loaded")
			return nil
		}))
		w.checkAllOpen(t)
		same(t, portmaps, nat(), "forwards, after all")
		w.eachContainer(t, (*host.Container).Check)
		w.eachContainer(t, (*host.Container).Del)
		if left := linesWith(nat(), "CNI-DN", "10.", "fd00:"); left != nil {
			t.Errorf("left: %q", left)
		}
	})
}

// eachContainer does something with all containers of networks, one by one.
func (w *world) eachContainer(t *testing.T, do func(*host.Container) error) {
	t.Helper()
	for _, e := range w.networks {
		ok(t, do(e.server))
		ok(t, do(e.peer))
	}
}

// TestLatePacket has packets wait in a queue for half a second. Such a packet is
// late, and no probe may call its way blocked.
func TestLatePacket(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"open", "allow"}.firewall())
		from, to := plain(t, h, n, "from"), plain(t, h, n, "to")
		ok(t, to.Serve(containerPort))
		run := func(protocol string) (string, time.Duration) {
			t.Helper()
			start := time.Now()
			p := probe{protocol: protocol, client: from, server: to, address: to.IPv4, port: containerPort}
			return p.run(), time.Since(start)
		}
		shell(t, h, "tc -n from qdisc add dev eth0 root tbf rate 8kbit burst 1600 limit 20000")
		// A thousand bytes pass each second, and these packets are ahead.
		fill := fmt.Sprintf(`ip netns exec from bash -c '
			for n in 1200 800; do head -c $n /dev/zero >/dev/udp/%s/%d; done'`, to.IPv4, containerPort)
		for _, protocol := range protocols {
			shell(t, h, fill)
			if verdict, took := run(protocol); verdict != string(host.Open) || took < 200*time.Millisecond {
				t.Errorf("a late packet of %s: %s after %s", protocol, verdict, took)
			}
			time.Sleep(3 * time.Second) // until the queue is as it was
		}
		shell(t, h, "tc -n from qdisc del dev eth0 root; iptables -I FORWARD -i br1 -j DROP")
		for _, protocol := range protocols {
			if verdict, took := run(protocol); verdict != string(host.Blocked) || took < 900*time.Millisecond {
				t.Errorf("a packet of %s that is dropped: %s after %s", protocol, verdict, took)
			}
		}
	})
}
