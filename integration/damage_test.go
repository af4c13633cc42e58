// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"github.com/cni-isolation/firewall/integration/host"
)

// damage is what somebody does to the rules, and what comes of it.
type damage struct {
	name    string
	script  string       // "$i" is iptables or ip6tables, "$family" what nft calls it
	names   string       // words that the error of CHECK must have in it
	probe   string       // one whose verdict changes
	becomes host.Verdict // with the damage; Open if empty
	undo    string       // takes away what ADD leaves, for it is not the plugin's
	all     bool         // takes what is accepted of others too, which their own ADD puts back
}

// The probes that tell of damage, on a host with the networks isolated/allow
// (br1) and same-bridge/allow (br2) and with a FORWARD that is closed.
const (
	fromPeer        = "from isolated/allow to isolated/allow, direct, TCP"
	fromOther       = "from same-bridge/allow to isolated/allow, direct, TCP"
	fromOtherToPort = "from same-bridge/allow to isolated/allow, published, TCP"
	abroadToPort    = "from outside to isolated/allow, published, TCP"

	// Between isolated bridges either one's rules stop a connection, but each is
	// alone with what comes to it or from it.
	fromOtherOneWay = "from same-bridge/allow to isolated/allow, direct, UDP"
	toOtherOneWay   = "from isolated/allow to same-bridge/allow, direct, UDP"

	abroadToForbidden = "from outside to the port that the operator forbids, published"

	toAbroad    = "from the container to the outside"
	toForbidden = "from the container to what the operator forbids"
)

const (
	jumpForward   = `FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`
	jumpStage1    = `FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1`
	jumpPublished = `FORWARD -m conntrack --ctstate DNAT -m comment --comment "CNI firewall plugin rules (publishedPorts: allow)" -j CNI-PUBLISHED`
	toAdmin       = ` -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`
	jumpAdmin     = "CNI-FORWARD" + toAdmin
	stageReturn   = `-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN`
	stage1Return  = "CNI-ISOLATION-STAGE-1 " + stageReturn
	stage2Return  = "CNI-ISOLATION-STAGE-2 " + stageReturn
	forbidden     = `CNI-ADMIN -p tcp -m tcp --dport 7 -j DROP`
	portForbidden = 7
)

func toEnd(rule string) string  { return "$i -D " + rule + "; $i -A " + rule }
func toHead(rule string) string { return "$i -D " + rule + "; $i -I " + rule }

const (
	openForward    = "$i -P FORWARD ACCEPT; " // so that what no rule drops gets through
	closeForward   = "$i -P FORWARD DROP; "
	forbiddenAgain = closeForward + "$i -A " + forbidden
)

var damages = []damage{
	{
		name: "FORWARD flushed", script: openForward + "$i -F FORWARD",
		names: "FORWARD CNI-PUBLISHED", probe: fromOther, undo: closeForward,
	}, {
		name: "all chains flushed", script: openForward + "$i -F",
		names: "FORWARD CNI-PUBLISHED", probe: fromPeer, undo: forbiddenAgain, all: true,
	}, {
		name: "the table flushed", script: openForward + "$i -F; $i -X",
		names: "chain CNI-ADMIN", probe: fromPeer, undo: forbiddenAgain, all: true,
	}, {
		// With iptables-legacy nothing more than the above can be done.
		name: "the table deleted", script: openForward + "$i -F; $i -X; nft delete table $family filter || true",
		names: "chain CNI-ADMIN", probe: fromPeer, undo: forbiddenAgain, all: true,
	}, {
		name: "the jump to published ports behind the isolation", script: toEnd(jumpPublished),
		names: "out of place FORWARD CNI-PUBLISHED", probe: fromOtherToPort, becomes: host.Blocked,
	}, {
		name: "the jumps of FORWARD swapped", script: toEnd(jumpStage1),
		names: "out of place FORWARD CNI-ISOLATION-STAGE-1", probe: fromOther,
	}, {
		name: "RETURN at the head of stage 1", script: toHead(stage1Return),
		names: "out of place CNI-ISOLATION-STAGE-1 br1", probe: fromPeer,
	}, {
		name: "RETURN at the head of stage 2", script: toHead(stage2Return),
		names: "out of place CNI-ISOLATION-STAGE-2 br1", probe: fromOther,
	}, {
		name: "the operator's chain behind what is accepted", script: toEnd(jumpAdmin),
		names: "out of place CNI-FORWARD CNI-ADMIN", probe: toForbidden,
	}, {
		name: "ACCEPT at the head of FORWARD", script: "$i -I FORWARD -j ACCEPT",
		names: "out of place FORWARD CNI-PUBLISHED", probe: fromOther, undo: "$i -D FORWARD -j ACCEPT",
	}, {
		name: "ACCEPT between the jumps of FORWARD", script: `$i -I FORWARD 3 -m comment --comment "-j DROP" -j ACCEPT`,
		names: "out of place FORWARD CNI-FORWARD", probe: toForbidden, undo: `$i -D FORWARD -m comment --comment "-j DROP" -j ACCEPT`,
	}, {
		name: "goto at the head of FORWARD", script: "$i -N OTHER; $i -A OTHER -j ACCEPT; $i -I FORWARD -g OTHER",
		names: "out of place FORWARD CNI-PUBLISHED", probe: fromOther, undo: "$i -D FORWARD -g OTHER; $i -F OTHER; $i -X OTHER",
	}, {
		name: "ACCEPT at the head of stage 1", script: "$i -I CNI-ISOLATION-STAGE-1 -j ACCEPT",
		names: "out of place CNI-ISOLATION-STAGE-1 br1", probe: fromPeer, undo: "$i -D CNI-ISOLATION-STAGE-1 -j ACCEPT",
	}, {
		name: "ACCEPT at the head of stage 2", script: "$i -I CNI-ISOLATION-STAGE-2 -j ACCEPT",
		names: "out of place CNI-ISOLATION-STAGE-2 br1", probe: fromOther, undo: "$i -D CNI-ISOLATION-STAGE-2 -j ACCEPT",
	}, {
		name: "ACCEPT at the head of CNI-FORWARD", script: "$i -I CNI-FORWARD -j ACCEPT",
		names: "out of place CNI-FORWARD CNI-ADMIN", probe: toForbidden, undo: "$i -D CNI-FORWARD -j ACCEPT",
	}, {
		name: "ACCEPT at the head of CNI-PUBLISHED", script: "$i -I CNI-PUBLISHED -j ACCEPT",
		names: "out of place CNI-PUBLISHED br1", probe: abroadToForbidden, undo: "$i -D CNI-PUBLISHED -j ACCEPT",
	}, {
		name: "RETURN at the head of CNI-PUBLISHED", script: "$i -I CNI-PUBLISHED -j RETURN",
		names: "out of place CNI-PUBLISHED br1", probe: abroadToPort, becomes: host.Blocked, undo: "$i -D CNI-PUBLISHED -j RETURN",
	}, {
		name: "ACCEPT at the head of CNI-PUBLISHED-ACCEPT", script: "$i -I CNI-PUBLISHED-ACCEPT -j ACCEPT",
		names: "out of place CNI-PUBLISHED-ACCEPT", probe: abroadToForbidden, undo: "$i -D CNI-PUBLISHED-ACCEPT -j ACCEPT",
	}, {
		name: "the operator's chain behind the accept of published ports", script: toEnd("CNI-PUBLISHED-ACCEPT" + toAdmin),
		names: "out of place CNI-PUBLISHED-ACCEPT CNI-ADMIN", probe: abroadToForbidden,
	},
}

// purposes has every rule of an isolated container, without its comment, and
// what becomes of its traffic without the rule.
var purposes = []struct {
	rule    string
	probe   string
	becomes host.Verdict
}{
	{"FORWARD -m conntrack --ctstate DNAT -j CNI-PUBLISHED", abroadToPort, host.Blocked},
	{"FORWARD -j CNI-ISOLATION-STAGE-1", fromPeer, host.Open},
	{"FORWARD -j CNI-FORWARD", toAbroad, host.Blocked},
	{"CNI-PUBLISHED -o br1 -m conntrack --ctstate DNAT --ctdir ORIGINAL -j CNI-PUBLISHED-ACCEPT", abroadToPort, host.Blocked},
	{"CNI-PUBLISHED -i br1 -m conntrack --ctstate DNAT --ctdir REPLY -j CNI-PUBLISHED-ACCEPT", fromOtherToPort, host.Blocked},
	{"CNI-PUBLISHED-ACCEPT -j CNI-ADMIN", abroadToForbidden, host.Open},
	{"CNI-PUBLISHED-ACCEPT -m conntrack --ctorigdst 127.0.0.0/8 -j RETURN", "", ""}, // TestForgeries
	{"CNI-PUBLISHED-ACCEPT -j ACCEPT", abroadToPort, host.Blocked},
	{"CNI-ISOLATION-STAGE-1 -i br1 -o br1 -j DROP", fromPeer, host.Open},
	{"CNI-ISOLATION-STAGE-1 -i br1 ! -o br1 -j CNI-ISOLATION-STAGE-2", toOtherOneWay, host.Open},
	{"CNI-ISOLATION-STAGE-1 -j RETURN", "", ""}, // for who reads the rules
	{"CNI-ISOLATION-STAGE-2 -o br1 -j DROP", fromOtherOneWay, host.Open},
	{"CNI-ISOLATION-STAGE-2 -j RETURN", "", ""},
	{"CNI-FORWARD -j CNI-ADMIN", toForbidden, host.Open},
	{"CNI-FORWARD -d ADDRESS -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", toAbroad, host.Blocked},
	{"CNI-FORWARD -s ADDRESS -j ACCEPT", toAbroad, host.Blocked},
}
