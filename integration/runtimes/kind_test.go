// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// kind is one of the hosts that engines are used on.
type kind struct {
	name      string
	setUp     func(k *kind, h *host.Host) error
	flush     string   // what somebody else does to rules, if it is not firewalld
	flushed   policy   // what that leaves
	harm      string   // what somebody else does to those of the plugin
	keeps     []string // rules of the plugin, when all containers are gone
	firewalld *host.Firewalld
}

var kinds = []kind{
	{
		name:  "iptables",
		setUp: func(*kind, *host.Host) error { return nil },
		flush: "iptables -F; iptables -t nat -F",
		// The isolation is in the table.
		flushed: sameBridge,
		harm:    "iptables -F",
		keeps:   documented,
	},
	{
		name:    "nftables",
		setUp:   func(_ *kind, h *host.Host) error { return h.WithoutIPTables() },
		flush:   "nft flush ruleset",
		flushed: open,
		harm:    "nft delete table inet cni_firewall",
	},
	{
		name:  "firewalld",
		setUp: (*kind).startFirewalld,
		harm:  "nft delete table inet cni_firewall",
	},
}

// startFirewalld has the host run by it, as distributions do: what has no zone is
// in the zone public.
func (k *kind) startFirewalld(h *host.Host) error {
	if _, err := h.Bus(); err != nil {
		return err
	}
	var err error
	k.firewalld, err = h.Firewalld("nftables", "public")
	return err
}

// onEachKind runs a test on a host of every kind.
func onEachKind(t *testing.T, body func(t *testing.T, h *host.Host, k kind)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) {
				ok(t, h.Scratch())
				ok(t, k.setUp(&k, h))
				body(t, h, k)
			})
		})
	}
}
