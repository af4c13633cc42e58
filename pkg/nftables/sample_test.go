// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

func container(
	bridge string, p policy.IngressPolicy, ports policy.PublishedPorts, addresses ...string,
) policy.Attachment {
	a := policy.Attachment{
		Network: "net-" + bridge, ContainerID: "c-" + bridge, IfName: "eth0",
		Bridge: bridge, IngressPolicy: p, PublishedPorts: ports, AdminChain: "CNI-ADMIN",
	}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a
}

// sample returns a rule set with elements in every set.
func sample() policy.RuleSet {
	return policy.Desired(
		container("br1", policy.SameBridge, policy.Allow, "10.1.0.2", "fd01::2"),
		container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
		container("br3", policy.Isolated, policy.Deny, "fd03::2"),
		container("br4", policy.Open, policy.Deny, "10.4.0.2"),
		container("br5", policy.Strict, policy.Allow, "10.5.0.2"),
	)
}

// oneMore returns the rule set of one more container on a bridge of the sample.
func oneMore() policy.RuleSet {
	return policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.9", "fd01::9"))
}

func apply(t *testing.T, k *kernel, rs policy.RuleSet, about ...string) {
	t.Helper()
	if err := readSnapshot(t, k).Apply(rs, about); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, k *kernel, rs policy.RuleSet) {
	t.Helper()
	if err := readSnapshot(t, k).Remove(rs); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, k *kernel, rs policy.RuleSet) error {
	t.Helper()
	before := len(k.commits)
	err := readSnapshot(t, k).Check(rs)
	if len(k.commits) > before {
		t.Error("a check wrote")
	}
	return err
}

// holding returns a kernel that holds a rule set.
func holding(t *testing.T, rs policy.RuleSet) *kernel {
	t.Helper()
	k := newKernel()
	apply(t, k, rs)
	return k
}

// wantHost fails if the kernel holds anything else.
func (k *kernel) wantHost(t *testing.T, want string) {
	t.Helper()
	if diff := cmp.Diff(want, k.host.String()); diff != "" {
		t.Error(diff)
	}
}

// elements returns the elements of a set as nft prints them.
func (k *kernel) elements(set string) []string {
	var list []string
	for key := range k.host.table().set(set).elements {
		list = append(list, element{set: set, key: key}.String())
	}
	return list
}
