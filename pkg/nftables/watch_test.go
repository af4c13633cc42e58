// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// notice is a message of the kernel about a change by netlink port 4711, see datagram.
func notice(kind, family int, attrs ...[]byte) []byte {
	return datagram(subsystem+kind, 0, 0, append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, slices.Concat(attrs...)...))
}

// ruleIn names the table and the chain of a rule.
func ruleIn(table, chain string) []byte {
	return slices.Concat(attrString(unix.NFTA_RULE_TABLE, table), attrString(unix.NFTA_RULE_CHAIN, chain))
}

// chainIn names a chain and its table.
func chainIn(table, chain string) []byte {
	return slices.Concat(attrString(unix.NFTA_CHAIN_TABLE, table), attrString(unix.NFTA_CHAIN_NAME, chain))
}

// by has another netlink port make a change.
func by(port uint32, notice []byte) []byte {
	b := slices.Clone(notice)
	binary.NativeEndian.PutUint32(b[12:], port)
	return b
}

func TestEvents(t *testing.T) {
	t.Parallel()
	const inet, bridge, ip, ip6 = unix.NFPROTO_INET, unix.NFPROTO_BRIDGE, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6
	own := attrString(unix.NFTA_TABLE_NAME, tableName)
	filter := attrString(unix.NFTA_TABLE_NAME, "filter")
	table, iptables := []Event{{policy.Table, 4711, false}}, []Event{{policy.Filter, 4711, false}}
	deleted := notice(unix.NFT_MSG_DELTABLE, inet, own)
	for name, c := range map[string]struct {
		datagram []byte
		want     []Event
	}{
		"the table is deleted":           {notice(unix.NFT_MSG_DELTABLE, inet, own), table},
		"the table for frames":           {notice(unix.NFT_MSG_DELTABLE, bridge, own), table},
		"the table of that name of ip":   {notice(unix.NFT_MSG_DELTABLE, ip, own), nil},
		"the table becomes dormant":      {notice(unix.NFT_MSG_NEWTABLE, inet, own), table},
		"a chain is deleted":             {notice(unix.NFT_MSG_DELCHAIN, inet, chainIn(tableName, chainStage1)), table},
		"a rule is deleted":              {notice(unix.NFT_MSG_DELRULE, inet, ruleIn(tableName, chainStage1)), table},
		"a rule is added":                {notice(unix.NFT_MSG_NEWRULE, inet, ruleIn(tableName, chainStage1)), table},
		"a set is deleted":               {notice(unix.NFT_MSG_DELSET, inet, own), table},
		"an element is deleted":          {notice(unix.NFT_MSG_DELSETELEM, bridge, own), table},
		"an element is added":            {notice(unix.NFT_MSG_NEWSETELEM, inet, own), nil},
		"a chain is added":               {notice(unix.NFT_MSG_NEWCHAIN, inet, chainIn(tableName, "more")), nil},
		"a foreign table":                {notice(unix.NFT_MSG_DELTABLE, inet, attrString(unix.NFTA_TABLE_NAME, "nat")), nil},
		"a foreign rule":                 {notice(unix.NFT_MSG_DELRULE, inet, ruleIn("filter", "forward")), nil},
		"iptables -F":                    {notice(unix.NFT_MSG_DELRULE, ip, ruleIn("filter", "FORWARD")), iptables},
		"ip6tables -F CNI-FORWARD":       {notice(unix.NFT_MSG_DELRULE, ip6, ruleIn("filter", policy.ChainForward)), iptables},
		"iptables -X":                    {notice(unix.NFT_MSG_DELCHAIN, ip, chainIn("filter", policy.ChainStage2)), iptables},
		"the filter table is deleted":    {notice(unix.NFT_MSG_DELTABLE, ip, filter), iptables},
		"iptables -F INPUT":              {notice(unix.NFT_MSG_DELRULE, ip, ruleIn("filter", "INPUT")), nil},
		"iptables -t nat -F CNI-FORWARD": {notice(unix.NFT_MSG_DELRULE, ip, ruleIn("nat", policy.ChainForward)), nil},
		"iptables -A FORWARD":            {notice(unix.NFT_MSG_NEWRULE, ip, ruleIn("filter", "FORWARD")), nil},
		"a set of a table filter":        {notice(unix.NFT_MSG_DELSET, ip, filter), nil},
		"several": {slices.Concat(notice(unix.NFT_MSG_NEWGEN, 0),
			notice(unix.NFT_MSG_DELRULE, ip, ruleIn("filter", "FORWARD")), notice(unix.NFT_MSG_DELRULE, ip6, ruleIn("filter", "FORWARD")),
			notice(unix.NFT_MSG_DELTABLE, inet, own)), slices.Concat(iptables, table)},
		"the plugin's own":      {by(0x70000000|(1<<pidBits-1), deleted), []Event{{policy.Table, 1<<pidBits - 1, true}}},
		"its last socket":       {by(0x7fc00000|4711, deleted), []Event{{policy.Table, 4711, true}}},
		"a second socket":       {by(0xfffff123, deleted), []Event{{policy.Table, 0, false}}},
		"nobody's":              {by(0, deleted), []Event{{policy.Table, 0, false}}},
		"another subsystem":     {datagram(unix.NFNL_SUBSYS_CTNETLINK<<8, 0, 0, nil), nil},
		"nothing":               {nil, nil},
		"no header of netlink":  {make([]byte, unix.NLMSG_HDRLEN), unknown},
		"no family":             {datagram(subsystem+unix.NFT_MSG_DELTABLE, 0, 0, nil), unknown},
		"a malformed attribute": {notice(unix.NFT_MSG_DELTABLE, inet, attrHeader(99)), unknown},
		"cut off":               {notice(unix.NFT_MSG_DELTABLE, inet, own)[:30], unknown},
		"no name at all":        {notice(unix.NFT_MSG_DELTABLE, inet), nil},
	} {
		if diff := cmp.Diff(c.want, eventsIn(c.datagram)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestGarbageEvents cuts messages off, and changes bytes of them. Nothing panics.
func TestGarbageEvents(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	whole := slices.Concat(
		notice(unix.NFT_MSG_DELRULE, unix.NFPROTO_IPV4, ruleIn("filter", "FORWARD")),
		notice(unix.NFT_MSG_DELSETELEM, unix.NFPROTO_INET, attrString(unix.NFTA_TABLE_NAME, tableName)))
	for range 20_000 {
		b := slices.Clone(whole[:random.IntN(len(whole)+1)])
		for range random.IntN(4) {
			if len(b) > 0 {
				b[random.IntN(len(b))] = byte(random.Uint32())
			}
		}
		eventsIn(b)
	}
}
