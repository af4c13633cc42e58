// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// otherPorts are ports of the bridge br1 that are no recorded container's. maybe says that
// one may be a container's, as nothing tells it from the port of a plugin without records.
var otherPorts = []struct {
	name, add string
	maybe     bool
}{
	{"a tap", "ip tuntap add port9 mode tap", false},
	{"a VXLAN", "ip link add port9 type vxlan id 9 dstport 4789 local 203.0.113.1", false},
	{"a veth of the host", "ip link add port9 type veth peer name end9", false},
	{"a veth of another namespace", "ip netns add lxc; ip link add port9 type veth peer name eth0 netns lxc", true},
}

// TestOtherPorts has a port on the bridge of the last container. Its isolation goes with
// the container, or status names the port, and restore removes it once the port is gone.
func TestOtherPorts(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		must(h.Outside())(t)
		before := state(t, h)
		for i, policy := range []string{"same-bridge", "isolated"} {
			n := host.Dual("net1", "br1", 1+i, place{policy, "allow"}.firewall())
			for _, p := range otherPorts {
				c := plain(t, h, n, "container")
				shell(t, h, p.add+"; ip link set port9 master br1 up")
				n.Plain = false
				must(c.Call(h.Firewall, "ADD"))(t)
				must(c.Call(h.Firewall, "DEL"))(t)
				ok(t, c.Del())
				if p.maybe {
					staysIsolated(t, h)
				} else {
					healthy(t, h, p.name)
					same(t, before, remaining(t, h, state(t, h)), policy+", "+p.name)
				}
				shell(t, h, "ip link del port9; ip link del br1; ip netns del container; ip netns del lxc 2>/dev/null || :")
			}
			same(t, before, remaining(t, h, state(t, h)), policy)
		}
	})
}

// staysIsolated expects the isolation of br1 to stay, and status to say why, until the port is gone,
// and restore has run.
func staysIsolated(t *testing.T, h *host.Host) {
	t.Helper()
	says := []string{`bridge "br1" stays isolated`, `its port "port9" is left`, `run "cni-firewall restore"`}
	contains(t, "status", statusWarning(t, h), says)
	if !strings.Contains(state(t, h), "br1") {
		t.Error("the isolation is gone")
	}
	must(h.Run(h.Firewall, "restore"))(t)
	contains(t, "status after restore", statusWarning(t, h), says)
	shell(t, h, "ip link set port9 nomaster")
	contains(t, "status without the port", statusWarning(t, h), []string{"no port is left"})
	must(h.Run(h.Firewall, "restore"))(t)
	healthy(t, h, "the port is gone")
	if left := linesWith(state(t, h), "br1"); left != nil {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

// statusWarning returns what status warns of. The networks are in force.
func statusWarning(t *testing.T, h *host.Host) string {
	t.Helper()
	o := finish(t, exec.Command(h.Firewall, "status"))
	if o.err != nil {
		t.Fatalf("%v: %s%s", o.err, o.stdout, o.stderr)
	}
	return o.stderr
}
