// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Held returns the bridges and addresses that the tables have rules of: this plugin's,
// upstream's or the standalone one's. A bridge that jumps to stage 2 is isolated,
// whatever other rules it has or lacks, and is to stay so.
func (s *Snapshot) Held() (policy.RuleSet, error) {
	var rs policy.RuleSet
	bridges := map[string]policy.Bridge{}
	for _, name := range s.Families().List() {
		t := s.families[name].table
		for _, bridge := range t.bridges() {
			b := bridges[bridge]
			b.Name, b.Families = bridge, b.Families.With(name)
			b.IngressPolicy = b.IngressPolicy.With(t.policyOf(bridge))
			b.PublishedPorts = t.publishedPortsOf(bridge)
			bridges[bridge] = b
		}
		rs.Addresses = append(rs.Addresses, t.addresses()...)
	}
	rs.Bridges = slices.Collect(maps.Values(bridges))
	return rs, nil
}

// bridges returns the bridges that rules of a plugin name.
func (t *table) bridges() []string {
	var bridges []string
	for _, chain := range []string{chainPublished, chainStage1, chainStage2} {
		for _, r := range t.rules[chain].list {
			name := r.value("-i", "-o")
			if policy.CheckInterface(name) == nil && isOfPlugin(r) && !slices.Contains(bridges, name) {
				bridges = append(bridges, name)
			}
		}
	}
	return bridges
}

// isOfPlugin reports whether a rule has a comment of a bridge's rules. Those of other
// interfaces of a network go with its bridge.
func isOfPlugin(r rule) bool {
	text := r.value("--comment")
	return text == commentStandalone || strings.HasPrefix(text, commentForward) && !strings.HasPrefix(text, commentGroup)
}

// policyOf returns the policy that the rules of a bridge keep.
func (t *table) policyOf(bridge string) policy.IngressPolicy {
	jumps := func(text string) bool { return t.count(chainStage1, toStage2(text)(bridge)) > 0 }
	if !slices.ContainsFunc(isolationComments, jumps) {
		return policy.Open
	}
	p := policy.SameBridge
	if t.count(chainStage1, dropSameBridge(bridge)) > 0 {
		p = p.With(policy.Isolated)
	}
	if t.count(chainStage1, dropUntracked(policy.Bridge{Name: bridge})[0]) > 0 {
		p = p.With(policy.Strict)
	}
	return p
}

func (t *table) publishedPortsOf(bridge string) policy.PublishedPorts {
	if t.count(chainPublished, acceptPublished(policy.Bridge{Name: bridge})[0]) > 0 {
		return policy.Allow
	}
	return policy.Deny
}

// addresses returns the addresses that CNI-FORWARD accepts.
func (t *table) addresses() []netip.Prefix {
	var found []netip.Prefix
	for _, r := range t.rules[chainCNIForward].list {
		p, err := netip.ParsePrefix(r.value("-s", "-d"))
		if err != nil || !p.IsSingleIP() || slices.Contains(found[max(0, len(found)-1):], p) {
			continue
		}
		isOwn := func(own rule) bool { return own.key() == r.key() }
		if slices.ContainsFunc(addressRules(p), isOwn) {
			found = append(found, p)
		}
	}
	return found
}
