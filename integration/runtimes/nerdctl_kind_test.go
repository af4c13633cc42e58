// SPDX-License-Identifier: Apache-2.0

package runtimes

import "github.com/cni-isolation/firewall/integration/host"

// nerdctlKind is a host that nerdctl is used on, with one plugin or the other.
type nerdctlKind struct {
	name     string
	setUp    func(h *host.Host) error
	backend  string   // what is added to its conflists
	flush    string   // what somebody else does to rules
	iptables bool     // whether the plugin uses it
	keeps    []string // rules of the plugin, when all containers are gone

	upstream bool
	flushed  policy // what a flush leaves of the isolation, with upstream's plugin
	revived  policy // what one ADD makes of that
}

const flushIPTables = "iptables -F; iptables -t nat -F; ip6tables -F; ip6tables -t nat -F"

var nerdctlKinds = []nerdctlKind{
	{name: "iptables-nft", setUp: variant("nft"), flush: flushIPTables, iptables: true, keeps: documentedRules},
	{name: "iptables-legacy", setUp: variant("legacy"), flush: flushIPTables, iptables: true, keeps: documentedRules},
	{name: "nftables", setUp: variant("nft"), backend: host.NFTables, flush: flushIPTables},
	{name: "firewalld", setUp: runFirewalld, flush: "firewall-cmd --reload"},
	{
		name: "upstream,iptables-nft", setUp: upstream(variant("nft")), flush: flushIPTables, iptables: true, upstream: true,
		flushed: open, revived: open,
	},
	{
		name: "upstream,firewalld", setUp: upstream(runFirewalld), flush: "firewall-cmd --reload", upstream: true,
		flushed: closed, revived: onlyToOther,
	},
}

func variant(name string) func(*host.Host) error {
	return func(h *host.Host) error { return h.UseVariant(name) }
}

func runFirewalld(h *host.Host) error { return new(kind).startFirewalld(h) }

func upstream(setUp func(*host.Host) error) func(*host.Host) error {
	return func(h *host.Host) error {
		if err := h.InstallUpstream(); err != nil {
			return err
		}
		return setUp(h)
	}
}
