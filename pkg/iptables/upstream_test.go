// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestUpstream starts from what upstream's plugin writes.
func TestUpstream(t *testing.T) {
	t.Parallel()
	const upstreams = `
-N CNI-ADMIN
-N CNI-FORWARD
-N CNI-ISOLATION-STAGE-1
-N CNI-ISOLATION-STAGE-2
-A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT
-A CNI-ISOLATION-STAGE-1 -i br1 -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j DROP
-A CNI-ISOLATION-STAGE-1 -i br1 ! -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
-A CNI-ISOLATION-STAGE-2 -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP
-A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
`
	denied := policy.Desired(container("br1", policy.Isolated, policy.Deny, "10.1.0.2"))
	if p := planApply(parse(t, newFakeTable(upstreams).list()), denied); len(p) > 0 {
		t.Errorf("with publishedPorts deny the rules are upstream's, got changes\n%s", p.script())
	}
	allowed := policy.Desired(container("br1", policy.Isolated, policy.Allow, "10.1.0.2"))
	for _, line := range planApply(parse(t, newFakeTable(upstreams).list()), allowed).lines() {
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
