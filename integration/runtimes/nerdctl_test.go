// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestNerdctl has nerdctl run by a script that does what its users do, and the
// same script with upstream's plugin. A step says whom it blocks, and whom it
// blocks with upstream's where that is not the same.
func TestNerdctl(t *testing.T) {
	t.Parallel()
	for _, k := range nerdctlKinds {
		t.Run(k.name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) { testNerdctl(t, h, k) })
		})
	}
}

func testNerdctl(t *testing.T, h *host.Host, k nerdctlKind) {
	ok(t, h.Scratch())
	ok(t, k.setUp(h))
	n := newNerdctl(t, h, k)
	links := n.links()
	for _, s := range k.steps() {
		s.do(n)
		blocked := s.blocked
		if k.upstream && s.upstream != nil {
			blocked = s.upstream
		}
		n.checkThe(t, s.ways, blocked, s.name)
	}
	n.removeAll()
	same(t, links, n.links(), "links, after all is removed")
	n.leaves()
}

// documentedRules are those of documented, as iptables writes them, in both
// families.
var documentedRules = slices.Repeat([]string{
	"-N CNI-ADMIN",
	"-N CNI-FORWARD",
	`-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`,
	`-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`,
}, 2)

// leaves ends the test if the plugin leaves more than it says. Upstream's never
// removes the isolation of a bridge.
func (n *nerdctl) leaves() {
	n.t.Helper()
	left := ours(must(n.h.Rules())(n.t) + must(n.h.Table())(n.t) + must(n.h.Sources())(n.t))
	if n.kind.upstream {
		for _, bridge := range []string{bridgeOf("blue"), bridgeOf("red")} {
			if !strings.Contains(strings.Join(left, "\n"), "-A CNI-ISOLATION-STAGE-2 -o "+bridge) {
				n.t.Fatalf("upstream's plugin removed the isolation of %s: %q", bridge, left)
			}
		}
		return
	}
	if diff := cmp.Diff(n.kind.keeps, left, cmpopts.EquateEmpty()); diff != "" {
		n.t.Fatalf("what the plugin leaves (-want +got):\n%s", diff)
	}
	if files := records(n.t); len(files) > 0 {
		n.t.Fatalf("what the plugin leaves: %q", files)
	}
}

// TestNerdctlWithoutIPTables has nerdctl on a host without the program, which it
// needs for published ports, whatever the backend.
func TestNerdctlWithoutIPTables(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Scratch())
		ok(t, h.WithoutIPTables())
		n := newNerdctl(t, h, nerdctlKind{})
		n.create("blue")
		n.create("red")
		n.start(peer)
		n.start(other)
		n.checkThe(t, append(betweenPeers, way{from: peer, to: theOutside}), sameBridge, "without iptables")
		n.status()

		_, err := n.h.Run(n.h.Nerdctl(), n.command(server)...)
		if err == nil || !strings.Contains(err.Error(), "iptables") {
			t.Fatalf("publishing a port without iptables: %v", err)
		}
		ok(t, recordsAre(t, 2))
		n.run("rm", "--force", server)
		n.remove(peer, other)
		n.run("network", "prune", "--force")
		if left := must(h.Table())(t); left != "" {
			t.Fatalf("what the plugin leaves: %s", left)
		}
		ok(t, recordsAre(t, 0))
	})
}

// TestNerdctlHostConfiguration has the operator of a host say what no option of nerdctl's
// does: nerdctl writes same-bridge.
func TestNerdctlHostConfiguration(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.Scratch())
		n := newNerdctl(t, h, nerdctlKind{})
		n.create("blue")
		n.create("red")
		const file = "/etc/cni-firewall/config.json"
		ok(t, os.Mkdir(filepath.Dir(file), 0o755))
		direct := []way{
			{from: peer, to: server}, {from: server, to: peer}, {from: other, to: server}, {from: server, to: other},
			{from: theHost, to: server}, {from: server, to: theOutside}, {from: theOutside, to: server, published: true},
		}
		for _, c := range []struct {
			ingressPolicy string
			blocked       policy
		}{{"open", open}, {"isolated", isolated}, {"same-bridge", sameBridge}} {
			ok(t, os.WriteFile(file, fmt.Appendf(nil, `{"networks": {"*": {"ingressPolicy": %q}}}`, c.ingressPolicy), 0o644))
			for _, name := range []string{server, peer, other} {
				n.start(name)
			}
			n.checkThe(t, direct, c.blocked, c.ingressPolicy)
			if said := must(h.Run(h.Firewall, "status"))(t); !strings.Contains(said, "networks *") {
				t.Errorf("status does not say who sets it:\n%s", said)
			}
			n.remove(server, peer, other)
			ok(t, recordsAre(t, 0))
		}
	})
}
