// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the name of both tables: one of the family inet, and one of the family
// bridge.
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
	setStrict        = "strict_bridges"
	setPublished     = "published_ports"
	setIPv4          = "containers_ipv4"
	setIPv6          = "containers_ipv6"

	// What the kernel counts: see dropped.go.
	setDropped = "dropped"
	setForged  = "dropped_forged"

	// Of the table for frames.
	setPorts        = "isolated_ports"
	setGuardedIPv4  = "guarded_ipv4"
	setGuardedIPv6  = "guarded_ipv6"
	setSpeakersIPv4 = "speakers_ipv4"
	setSpeakersIPv6 = "speakers_ipv6"

	setFramesDropped = "frames_dropped"
	setFramesForged  = "frames_forged"
)

// The plugin's own chains.
const (
	chainIsolation = "isolation"
	chainStage1    = "isolation_stage_1"
	chainStage2    = "isolation_stage_2"
	chainForward   = "forward"
	chainStrict    = "strict"
	chainForged    = "forged_source"
	chainArrival   = "arrival"

	chainDrop       = "drop_counted"
	chainDropForged = "drop_forged"

	// Of the table for frames.
	chainSpeakers = "speakers"
	chainFrames   = "frames"

	chainFramesDrop       = "frames_drop"
	chainFramesDropForged = "frames_drop_forged"
)

// tableLayout is what a table must be.
type tableLayout struct {
	family     byte
	familyName string
	sets       []setLayout
	chains     []chainLayout
}

// packets is the table that sees what the host forwards.
var packets = &tableLayout{unix.NFPROTO_INET, "inet", sets, chains}

// frames is the table that sees what bridges switch. It is there only while a network
// is isolated within its bridge.
var frames = &tableLayout{unix.NFPROTO_BRIDGE, "bridge", frameSets, frameChains}

// String returns the table's name as nft prints it.
func (l *tableLayout) String() string { return "table " + l.familyName + " " + tableName }

// setLayout is what a set must be.
type setLayout struct {
	name, comment string
	keyType       uint32 // nft's number of the type (datatype.h), 6 bits for each part
	keyLength     uint32 // bytes
	byteOrder     uint32 // 1 the host's, 2 the network's; nft needs it to list elements
	counts        bool   // the kernel makes the elements: see dropped.go
}

const (
	typeIPv4Addr = 7
	typeIPv6Addr = 8
	typeIfname   = 41
	typePair     = typeIfname<<6 | typeIfname

	typeIfnameIPv4 = typeIfname<<6 | typeIPv4Addr
	typeIfnameIPv6 = typeIfname<<6 | typeIPv6Addr
)

var sets = []setLayout{
	{setIsolated, "ingressPolicy other than open", typeIfname, unix.IFNAMSIZ, 1, false},
	{setSameBridge, "each of isolated_bridges, to itself", typePair, 2 * unix.IFNAMSIZ, 0, false},
	{setBlockedWithin, "ingressPolicy isolated, to itself", typePair, 2 * unix.IFNAMSIZ, 0, false},
	{setStrict, "ingressPolicy strict", typeIfname, unix.IFNAMSIZ, 1, false},
	{setPublished, "publishedPorts allow", typeIfname, unix.IFNAMSIZ, 1, false},
	{setIPv4, "network, container and interface", typeIfnameIPv4, unix.IFNAMSIZ + 4, 0, false},
	{setIPv6, "network, container and interface", typeIfnameIPv6, unix.IFNAMSIZ + 16, 0, false},
	{setDropped, "packets that the isolation dropped, from and to", typePair, 2 * unix.IFNAMSIZ, 0, true},
	{setForged, "packets with a forged source, by where they came in", typeIfname, unix.IFNAMSIZ, 1, true},
}

var frameSets = []setLayout{
	{setPorts, "ports of containers, ingressPolicy isolated", typeIfname, unix.IFNAMSIZ, 1, false},
	{setGuardedIPv4, "addresses of these containers", typeIPv4Addr, 4, 2, false},
	{setGuardedIPv6, "addresses of these containers", typeIPv6Addr, 16, 2, false},
	{setSpeakersIPv4, "the port that speaks for an address", typeIfnameIPv4, unix.IFNAMSIZ + 4, 0, false},
	{setSpeakersIPv6, "the port that speaks for an address", typeIfnameIPv6, unix.IFNAMSIZ + 16, 0, false},
	{setFramesDropped, "frames that no container sends to another, by port", typeIfname, unix.IFNAMSIZ, 1, true},
	{setFramesForged, "frames with a forged source, by port", typeIfname, unix.IFNAMSIZ, 1, true},
}

// setLayoutOf returns the layout of a set, if the plugin has one of this name.
func (l *tableLayout) setLayoutOf(name string) (found setLayout, own bool) {
	i := slices.IndexFunc(l.sets, func(x setLayout) bool { return x.name == name })
	if i < 0 {
		return found, false
	}
	return l.sets[i], true
}

// chainLayout is what a chain must be. Its rules are in the order of the kernel.
type chainLayout struct {
	name, comment string
	base          *baseLayout // nil if other chains jump to this one
	rules         []rule
}

// baseLayout is where a base chain hangs.
type baseLayout struct {
	hook     uint32
	priority int32
}

func forwardAt(priority int32) *baseLayout { return &baseLayout{nfForward, priority} }

const adminComment = "the operator's own: jumped to ahead of all that is accepted, never emptied"

// The isolation has a base chain of its own: a drop in one base chain holds
// whatever another one accepts. So no accept, not even the operator's, lets a
// packet pass before the isolation has seen it. The first rules are those that
// most packets meet: a packet from or to the outside gets no further than stage 1.
var chains = []chainLayout{
	droppedLayout(chainDrop, setDropped, pair),
	droppedLayout(chainDropForged, setForged, port),
	// A source that lives on an isolated network, in a packet that came in elsewhere.
	// The rules name the interfaces of these networks; they come and go with them, in
	// any order.
	{chainForged, "the source lives on an isolated network, and came in by another", nil, nil},
	{chainStage2, "from one to an isolated bridge: stop", nil, []rule{
		// A port that is published on loopback is for the host alone. The plugin
		// portmap lets raw frames to 127.0.0.1 in from bridges (route_localnet).
		newRule("ct original ip daddr 127.0.0.0/8 jump "+chainDrop,
			ctOriginalIPv4Destination(), compare(127), jump(chainDrop)),
		// Traffic to published ports is exempt in the direction in which conntrack
		// saw the connection begin. Replies pass wherever they lead: the kernel has
		// the connection only because its first packet passed, with a source that was
		// its own (forged_source; within a bridge, the table for frames).
		newRule("ct direction original ct status dnat oifname @"+setPublished+" return",
			ctDirection(directionOriginal), ctDNAT(), oifname(1), lookup(setPublished), verdict(expr.VerdictReturn)),
		newRule("ct direction reply ct status dnat iifname @"+setPublished+" return",
			ctDirection(directionReply), ctDNAT(), iifname(), lookup(setPublished), verdict(expr.VerdictReturn)),
		newRule("iifname . oifname @"+setBlockedWithin+" jump "+chainDrop,
			iifname(), oifname(2), lookup(setBlockedWithin), jump(chainDrop)),
		// A missing pair blocks.
		newRule("iifname . oifname @"+setSameBridge+" return",
			iifname(), oifname(2), lookup(setSameBridge), verdict(expr.VerdictReturn)),
		jumpTo(chainDrop),
	}},
	{chainStage1, "from an isolated bridge", nil, []rule{
		newRule("oifname @"+setIsolated+" jump "+chainStage2, oifname(1), lookup(setIsolated), jump(chainStage2)),
	}},
	// Replies to what containers began pass, the first packets of connections do not, nor
	// what conntrack does not know. Between isolated bridges, stage 2 has judged already.
	{chainStrict, "from anywhere to a strict bridge: stop", nil, []rule{
		newRule("ct direction reply return", ctDirection(directionReply), verdict(expr.VerdictReturn)),
		newRule("iifname . oifname @"+setSameBridge+" return",
			iifname(), oifname(2), lookup(setSameBridge), verdict(expr.VerdictReturn)),
		newRule("ct original ip daddr 127.0.0.0/8 jump "+chainDrop,
			ctOriginalIPv4Destination(), compare(127), jump(chainDrop)),
		newRule("ct direction original ct status dnat oifname @"+setPublished+" return",
			ctDirection(directionOriginal), ctDNAT(), oifname(1), lookup(setPublished), verdict(expr.VerdictReturn)),
		jumpTo(chainDrop),
	}},
	// Older kernels (5.10 is one) have fib look for routes on this hook alone
	// (nft_fib_validate). It is behind the redirections of others, so that what is for
	// the host is known, which passes.
	{chainArrival, "the first packets of connections that pass the host", &baseLayout{nfPrerouting, -90}, []rule{
		newRule("ct direction original ct state related,new fib daddr type != local fib saddr . iif oif missing jump "+chainForged,
			ctDirection(directionOriginal), ctAnyBit(expr.CtKeySTATE, stateNew|stateRelated),
			fibNotLocal(), fibMissing(), jump(chainForged)),
	}},
	{chainIsolation, "ahead of all that accepts", forwardAt(-10), []rule{
		newRule("iifname @"+setIsolated+" jump "+chainStage1, iifname(), lookup(setIsolated), jump(chainStage1)),
		newRule("oifname @"+setStrict+" jump "+chainStrict, oifname(1), lookup(setStrict), jump(chainStrict)),
	}},
	{chainForward, "what containers may", forwardAt(0), []rule{
		// Only the interfaces of its own network speak for an address.
		newRule("iifname . ip saddr @"+setIPv4+" accept",
			nfproto(unix.NFPROTO_IPV4), iifname(), address(2, 12, 4), lookup(setIPv4), verdict(expr.VerdictAccept)),
		newRule("oifname . ip daddr @"+setIPv4+" ct state established,related accept",
			nfproto(unix.NFPROTO_IPV4), oifname(1), address(2, 16, 4), lookup(setIPv4), ctEstablished(),
			verdict(expr.VerdictAccept)),
		newRule("iifname . ip6 saddr @"+setIPv6+" accept",
			nfproto(unix.NFPROTO_IPV6), iifname(), address(2, 8, 16), lookup(setIPv6), verdict(expr.VerdictAccept)),
		newRule("oifname . ip6 daddr @"+setIPv6+" ct state established,related accept",
			nfproto(unix.NFPROTO_IPV6), oifname(1), address(2, 24, 16), lookup(setIPv6), ctEstablished(),
			verdict(expr.VerdictAccept)),
		newRule("ct direction original ct status dnat oifname @"+setPublished+" accept",
			ctDirection(directionOriginal), ctDNAT(), oifname(1), lookup(setPublished), verdict(expr.VerdictAccept)),
	}},
}

// Within a bridge neither interface nor route tells who sent a frame: the port does.
// Frames that are neither IPv4 nor IPv6 to a bridge (other protocols, and whatever has a
// VLAN tag, which the receiver may ignore) meet no rule for packets; between containers
// of an isolated bridge none of them has a use. What goes to the gateway is not
// forwarded. The chain for these stands ahead of br_netfilter, which takes packets off
// the hook at priority 0.
var frameChains = []chainLayout{
	droppedLayout(chainFramesDrop, setFramesDropped, port),
	droppedLayout(chainFramesDropForged, setFramesForged, port),
	{chainSpeakers, "only a container's own port speaks for its addresses", &baseLayout{nfPrerouting, -300}, []rule{
		// The kernel takes off one tag ahead of this hook, and the next one behind it: the
		// rules would not see the packet that the host then takes.
		newRule("iifname @"+setPorts+" meta protocol 8021q jump "+chainFramesDrop,
			iifname(), lookup(setPorts), etherIs(unix.ETH_P_8021Q), jump(chainFramesDrop)),
		newRule("iifname @"+setPorts+" meta protocol 8021ad jump "+chainFramesDrop,
			iifname(), lookup(setPorts), etherIs(unix.ETH_P_8021AD), jump(chainFramesDrop)),
		newRule("ip saddr @"+setGuardedIPv4+" iifname . ip saddr != @"+setSpeakersIPv4+" jump "+chainFramesDropForged,
			etherIs(unix.ETH_P_IP), address(1, 12, 4), lookup(setGuardedIPv4),
			iifname(), address(2, 12, 4), lookupNot(setSpeakersIPv4), jump(chainFramesDropForged)),
		newRule("ip6 saddr @"+setGuardedIPv6+" iifname . ip6 saddr != @"+setSpeakersIPv6+" jump "+chainFramesDropForged,
			etherIs(unix.ETH_P_IPV6), address(1, 8, 16), lookup(setGuardedIPv6),
			iifname(), address(2, 8, 16), lookupNot(setSpeakersIPv6), jump(chainFramesDropForged)),
	}},
	{chainFrames, "between containers only plain IPv4, IPv6 and ARP", forwardAt(-200), []rule{
		newRule("iifname @"+setPorts+" oifname @"+setPorts+" ether type != ip ether type != ip6 ether type != arp jump "+chainFramesDrop,
			iifname(), lookup(setPorts), oifname(1), lookup(setPorts),
			etherTypeIsNot(unix.ETH_P_IP), etherTypeIsNot(unix.ETH_P_IPV6), etherTypeIsNot(unix.ETH_P_ARP),
			jump(chainFramesDrop)),
	}},
}

// forgedRule drops a source to which the host routes by the interface that a key begins
// with. See chainForged. From the bridge in the rest of the key, if any, it may come: to
// br_netfilter, what a container sends to a gateway on a port comes in by the bridge.
func forgedRule(key string) rule {
	return routedBy(key, jumpTo(chainDropForged))
}

// routedBy matches such a source, and ends as another rule does.
func routedBy(key string, end rule) rule {
	name, bridge := interfaceName(key), interfaceName(key[unix.IFNAMSIZ:])
	text := `fib saddr oifname "` + name + `" ` + end.text
	exprs := [][]expr.Any{fibInterface(), is(name), end.exprs}
	if bridge != "" {
		text = `iifname != "` + bridge + `" ` + text
		exprs = append([][]expr.Any{iifname(), isNot(bridge)}, exprs...)
	}
	return newRule(text, exprs...)
}

func jumpTo(chain string) rule { return newRule("jump "+chain, jump(chain)) }

// chainLayoutOf returns the layout of a chain, if the plugin has one of this name.
func (l *tableLayout) chainLayoutOf(name string) (found chainLayout, own bool) {
	i := slices.IndexFunc(l.chains, func(x chainLayout) bool { return x.name == name })
	if i < 0 {
		return found, false
	}
	return l.chains[i], true
}

func (l *tableLayout) isOwnChain(name string) bool {
	_, own := l.chainLayoutOf(name)
	return own
}
