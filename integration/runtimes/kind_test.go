// SPDX-License-Identifier: Apache-2.0

package runtimes

import "github.com/cni-isolation/firewall/integration/host"

// kind is one of the hosts that engines are used on.
type kind struct {
	name  string
	setUp func(h *host.Host) (*host.Firewalld, error)
	flush string   // what somebody else does to all rules, if it is not firewalld
	harm  string   // what somebody else does to those of the plugin
	keeps []string // rules of the plugin, when all containers are gone
}

var kinds = []kind{
	{
		name:  "iptables",
		setUp: func(*host.Host) (*host.Firewalld, error) { return nil, nil },
		flush: "iptables -F; iptables -t nat -F",
		harm:  "iptables -F",
		keeps: documented,
	},
	{
		name:  "nftables",
		setUp: func(h *host.Host) (*host.Firewalld, error) { return nil, h.WithoutIPTables() },
		flush: "nft flush ruleset",
		harm:  "nft delete table inet cni_firewall",
	},
	{
		name: "firewalld",
		setUp: func(h *host.Host) (*host.Firewalld, error) {
			if _, err := h.Bus(); err != nil {
				return nil, err
			}
			return h.Firewalld("nftables", "public")
		},
		harm: "nft delete table inet cni_firewall",
	},
}
