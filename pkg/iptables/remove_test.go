// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestRemoval removes the bridges one after the other. Those that are left stay
// isolated.
func TestRemoval(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	applyTo(t, host, sample())
	for _, line := range foreignLines[:4] {
		if err := host.command(line); err != nil {
			t.Fatal(err)
		}
	}
	bridges := []string{"br1", "br2", "br3", "br4"}
	for n, b := range bridges {
		rs := sample()
		rs.Bridges = slices.DeleteFunc(rs.Bridges, func(x policy.Bridge) bool { return x.Name != b })
		rs.Addresses = slices.DeleteFunc(rs.Addresses, func(p netip.Prefix) bool {
			return p.Addr().As4()[1] != b[2]-'0'
		})
		p := planRemove(parse(t, host.list()), rs)
		if err := host.restore(p.script()); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if strings.Contains(host.list(), b) {
			t.Errorf("%s is left in\n%s", b, host.list())
		}
		if isolated := bridges[min(n+1, 3):3]; len(isolated) > 0 {
			checkVerdicts(t, host, isolated...)
		}
	}
	want := newFakeTable(`
-N DOCKER-USER
-N CNI-ADMIN
-N CNI-FORWARD
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -i lan0 -j ACCEPT
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -s 10.9.0.2/32 -j ACCEPT`)
	if diff := cmp.Diff(want.rules, host.rules); diff != "" {
		t.Error(diff)
	}
}

// TestUsedStagesStay wants the stages to stay while another program uses them.
func TestUsedStagesStay(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"another plugin's bridge":   foreignLines[4],
		"a rule in stage 2":         "-A CNI-ISOLATION-STAGE-2 -o lan0 -j DROP",
		"a jump from FORWARD":       "-A FORWARD -i x -j CNI-ISOLATION-STAGE-1",
		"a jump from another chain": "-A CNI-ADMIN -i x -j CNI-ISOLATION-STAGE-1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newFakeTable("")
			applyTo(t, host, sample())
			if err := host.command(line); err != nil {
				t.Fatal(err)
			}
			if err := host.restore(planRemove(parse(t, host.list()), sample()).script()); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(host.order, chainStage1) || !strings.Contains(host.list(), strings.SplitN(line, " ", 3)[2]) {
				t.Errorf("gone in\n%s", host.list())
			}
		})
	}
}
