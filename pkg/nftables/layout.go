// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the name of the table, which is of the family inet.
const tableName = "cni_firewall"

// mark begins the comment of everything that the plugin makes. By it, a version
// with another layout recognizes what this one made.
const mark = "CNI firewall plugin"

// The sets. What differs from host to host, or from one ADD to the next, is an
// element of one of them.
const (
	setIsolated      = "isolated_bridges"
	setSameBridge    = "same_bridge"
	setBlockedWithin = "blocked_within"
	setPublished     = "published_ports"
	setIPv4          = "containers_ipv4"
	setIPv6          = "containers_ipv6"
)

// The plugin's own chains.
const (
	chainIsolation = "isolation"
	chainStage1    = "isolation_stage_1"
	chainStage2    = "isolation_stage_2"
	chainForward   = "forward"
)

// setLayout is what a set must be.
type setLayout struct {
	name, comment string
	keyType       uint32 // nft's number of the type (datatype.h), 6 bits for each part
	keyLength     uint32 // bytes
	byteOrder     uint32 // 1 the host's, 2 the network's; nft needs it to list elements
}

const (
	typeIPv4Addr = 7
	typeIPv6Addr = 8
	typeIfname   = 41
	typePair     = typeIfname<<6 | typeIfname
)

var sets = []setLayout{
	{setIsolated, "ingressPolicy same-bridge or isolated", typeIfname, unix.IFNAMSIZ, 1},
	{setSameBridge, "each of isolated_bridges, to itself", typePair, 2 * unix.IFNAMSIZ, 0},
	{setBlockedWithin, "ingressPolicy isolated, to itself", typePair, 2 * unix.IFNAMSIZ, 0},
	{setPublished, "publishedPorts allow", typeIfname, unix.IFNAMSIZ, 1},
	{setIPv4, "network, container and interface", typeIPv4Addr, 4, 2},
	{setIPv6, "network, container and interface", typeIPv6Addr, 16, 2},
}

// setLayoutOf returns the layout of a set, if the plugin has one of this name.
func setLayoutOf(name string) (l setLayout, own bool) {
	i := slices.IndexFunc(sets, func(l setLayout) bool { return l.name == name })
	if i < 0 {
		return l, false
	}
	return sets[i], true
}

// chainLayout is what a chain must be. Its rules are in the order of the kernel.
type chainLayout struct {
	name, comment string
	priority      *int32 // of a base chain on the hook forward; nil if other chains jump to this one
	rules         []rule
}

const adminComment = "the operator's own: jumped to ahead of all that is accepted, never emptied"

// The isolation has a base chain of its own: a drop in one base chain holds
// whatever another one accepts. So no accept, not even the operator's, lets a
// packet pass before the isolation has seen it. The first rules are those that
// most packets meet: a packet from or to the outside gets no further than stage 1.
var chains = []chainLayout{
	{chainStage2, "from one to an isolated bridge: stop", nil, []rule{
		// Traffic to published ports is exempt in the direction in which conntrack
		// saw the connection begin. Replies pass wherever they lead: the kernel has
		// the connection only because its first packet passed.
		newRule("ct direction original ct status dnat oifname @"+setPublished+" return",
			ctDirection(directionOriginal), ctDNAT(), oifname(1), lookup(setPublished), verdict(expr.VerdictReturn)),
		newRule("ct direction reply ct status dnat iifname @"+setPublished+" return",
			ctDirection(directionReply), ctDNAT(), iifname(), lookup(setPublished), verdict(expr.VerdictReturn)),
		newRule("iifname . oifname @"+setBlockedWithin+" drop",
			iifname(), oifname(2), lookup(setBlockedWithin), verdict(expr.VerdictDrop)),
		// A missing pair blocks.
		newRule("iifname . oifname @"+setSameBridge+" return",
			iifname(), oifname(2), lookup(setSameBridge), verdict(expr.VerdictReturn)),
		newRule("drop", verdict(expr.VerdictDrop)),
	}},
	{chainStage1, "from an isolated bridge", nil, []rule{
		newRule("oifname @"+setIsolated+" jump "+chainStage2, oifname(1), lookup(setIsolated), jump(chainStage2)),
	}},
	{chainIsolation, "ahead of all that accepts", priority(-10), []rule{
		newRule("iifname @"+setIsolated+" jump "+chainStage1, iifname(), lookup(setIsolated), jump(chainStage1)),
	}},
	{chainForward, "what containers may", priority(0), []rule{
		newRule("ip saddr @"+setIPv4+" accept",
			nfproto(unix.NFPROTO_IPV4), address(12, 4), lookup(setIPv4), verdict(expr.VerdictAccept)),
		newRule("ip daddr @"+setIPv4+" ct state established,related accept",
			nfproto(unix.NFPROTO_IPV4), address(16, 4), lookup(setIPv4), ctEstablished(), verdict(expr.VerdictAccept)),
		newRule("ip6 saddr @"+setIPv6+" accept",
			nfproto(unix.NFPROTO_IPV6), address(8, 16), lookup(setIPv6), verdict(expr.VerdictAccept)),
		newRule("ip6 daddr @"+setIPv6+" ct state established,related accept",
			nfproto(unix.NFPROTO_IPV6), address(24, 16), lookup(setIPv6), ctEstablished(), verdict(expr.VerdictAccept)),
		newRule("ct direction original ct status dnat oifname @"+setPublished+" accept",
			ctDirection(directionOriginal), ctDNAT(), oifname(1), lookup(setPublished), verdict(expr.VerdictAccept)),
	}},
}

func priority(n int32) *int32 { return &n }

func jumpTo(chain string) rule { return newRule("jump "+chain, jump(chain)) }

// chainLayoutOf returns the layout of a chain, if the plugin has one of this name.
func chainLayoutOf(name string) (l chainLayout, own bool) {
	i := slices.IndexFunc(chains, func(l chainLayout) bool { return l.name == name })
	if i < 0 {
		return l, false
	}
	return chains[i], true
}

func isOwnChain(name string) bool {
	_, own := chainLayoutOf(name)
	return own
}
