// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func container(bridge string, p policy.IngressPolicy, ports policy.PublishedPorts, addresses ...string) policy.Attachment {
	a := policy.Attachment{Bridge: bridge, IngressPolicy: p, PublishedPorts: ports, AdminChain: "CNI-ADMIN"}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a
}

// sample is a rule set with something of everything.
func sample() policy.RuleSet {
	return policy.Desired(
		container("br1", policy.SameBridge, policy.Allow, "10.1.0.2", "10.1.0.3"),
		container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
		container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
		container("br4", policy.Open, policy.Allow, "10.4.0.2"),
	).In(policy.IPv4)
}

// others are rules that are not the plugin's, and stay in their order whatever
// it does.
var foreignLines = []string{
	"-N DOCKER-USER",
	"-A FORWARD -j DOCKER-USER",
	"-A FORWARD -i lan0 -j ACCEPT",
	"-A CNI-FORWARD -s 10.9.0.2/32 -j ACCEPT",
	"-A CNI-ISOLATION-STAGE-1 -i br9 ! -o br9 -m comment --comment \"CNI isolation plugin rules\" -j CNI-ISOLATION-STAGE-2",
	"-A CNI-ADMIN -s 192.0.2.1/32 -j DROP",
}

func parse(t *testing.T, listing string) *table {
	t.Helper()
	parsed, err := parseTable(listing)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func mustParse(listing string) *table {
	t, err := parseTable(listing)
	if err != nil {
		panic(err)
	}
	return t
}

// bring makes a table hold a rule set and fails if the kernel would refuse.
func applyTo(t *testing.T, f *fakeTable, rs policy.RuleSet) {
	t.Helper()
	p := planApply(parse(t, f.list()), rs)
	if err := f.restore(p.script()); err != nil {
		t.Fatalf("%v in\n%s", err, p.script())
	}
	if rest := planApply(parse(t, f.list()), rs); len(rest) > 0 {
		t.Fatalf("still missing in\n%s\n%s", f.list(), rest.script())
	}
}
