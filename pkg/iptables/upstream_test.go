// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"os"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestUpstream starts from the rules that upstream's plugin writes.
func TestUpstream(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/upstream.rules")
	if err != nil {
		t.Fatal(err)
	}
	upstreams := string(text)
	denied := policy.Desired(container("br1", policy.Isolated, policy.Deny, "10.1.0.2"))
	if p := planApply(parse(t, newFakeTable(upstreams).list()), policy.IPv4, denied); len(p) > 0 {
		t.Errorf("publishedPorts deny needs upstream's rules and no more, got changes\n%s", p.script())
	}
	allowed := policy.Desired(container("br1", policy.Isolated, policy.Allow, "10.1.0.2"))
	for _, line := range planApply(parse(t, newFakeTable(upstreams).list()), policy.IPv4, allowed).lines() {
		if !strings.Contains(line, chainPublished) || strings.HasPrefix(line, "-D") {
			t.Errorf("the upgrade does more than add the rules of published ports: %s", line)
		}
	}
	host := newFakeTable(upstreams)
	if err := host.restore(planRemove(parse(t, host.list()), allowed).script()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(host.list(), "br1") || strings.Contains(host.list(), "10.1.0.2") {
		t.Errorf("upstream's rules are left in\n%s", host.list())
	}
}
