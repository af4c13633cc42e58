// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// container returns an attachment with addresses.
func container(
	bridge string, p policy.IngressPolicy, ports policy.PublishedPorts, addresses ...string,
) policy.Attachment {
	a := policy.Attachment{Bridge: bridge, IngressPolicy: p, PublishedPorts: ports, AdminChain: "CNI-ADMIN"}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a
}

// routedBy returns an attachment to a network that has other interfaces of the host
// beside its bridge.
func routedBy(a policy.Attachment, interfaces ...string) policy.Attachment {
	a.Interfaces = interfaces
	return a
}

// sample returns a rule set with every kind of rule, and with other attachments.
func sample(others ...policy.Attachment) policy.RuleSet {
	return policy.Desired(append(others,
		container("br1", policy.SameBridge, policy.Allow, "10.1.0.2", "10.1.0.3"),
		container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
		container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
		container("br4", policy.Open, policy.Allow, "10.4.0.2"),
	)...).In(policy.IPv4)
}

// foreignLines are rules of other programs. They stay in their order whatever the
// plugin does.
var foreignLines = []string{
	"-N DOCKER-USER",
	"-A FORWARD -j DOCKER-USER",
	"-A FORWARD -i lan0 -j ACCEPT",
	"-A CNI-FORWARD -s 10.9.0.2/32 -j ACCEPT",
	"-A CNI-ISOLATION-STAGE-1 " + string(toStage2(commentStandalone)("br9")),
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

// applyTo makes a table of IPv4 hold a rule set.
func applyTo(t *testing.T, f *fakeTable, rs policy.RuleSet) {
	t.Helper()
	applyIn(t, policy.IPv4, f, rs)
}

// applyIn makes the table of a family hold a rule set. It fails where the kernel would
// refuse, and where a second plan would not be empty.
func applyIn(t *testing.T, family policy.Family, f *fakeTable, rs policy.RuleSet) {
	t.Helper()
	p := planApply(parse(t, f.list()), family, rs)
	if err := f.restore(p.script()); err != nil {
		t.Fatalf("%v in\n%s", err, p.script())
	}
	if rest := planApply(parse(t, f.list()), family, rs); len(rest) > 0 {
		t.Fatalf("still missing in\n%s\n%s", f.list(), rest.script())
	}
}
