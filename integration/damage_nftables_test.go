// SPDX-License-Identifier: Apache-2.0

package integration

import "github.com/cni-isolation/firewall/integration/host"

// nftSpoil is what a script can call to spoil the table.
const nftSpoil = `
	t="inet cni_firewall"
	flush() {
		nft flush table $t
		for s in isolated_bridges same_bridge blocked_within strict_bridges published_ports containers_ipv4 containers_ipv6; do nft flush set $t $s; done
	}
	wipe() { nft delete table $t; nft delete table bridge cni_firewall 2>/dev/null || :; }
	unrule() {
		case $1 in speakers | frames*) t="bridge cni_firewall" ;; esac
		nft delete rule $t "$1" handle "$(nft -a list chain $t "$1" | grep -F -- "$(printf '\t')$2 # handle" | sed 's/.* //')"
	}
`

const nftForbidden = "nft add rule inet cni_firewall CNI-ADMIN tcp dport 7 drop"

// within tells of a bridge whose containers reach each other.
const within = "from same-bridge/allow to same-bridge/allow, direct, TCP"

// nftDamages are those of a table that has both families. There is no damage whose
// undoing is the operator's but that of the operator's own chain: other rules
// of somebody else do not belong in the table.
var nftDamages = []damage{
	{
		name: "the table deleted", script: "wipe",
		names: "cni_firewall", probe: fromPeer, undo: nftForbidden, all: true,
	}, {
		name: "the table flushed", script: "nft flush table $t",
		names: "drop_counted", probe: fromPeer, undo: nftForbidden,
	}, {
		name: "the table and all sets flushed", script: "flush",
		names: "drop_counted", probe: fromPeer, undo: nftForbidden, all: true,
	}, {
		name: "the table dormant", script: "nft add table $t '{ flags dormant; }'",
		names: "cni_firewall", probe: fromPeer,
	}, {
		name: "isolation flushed", script: "nft flush chain $t isolation",
		names: "isolation", probe: fromPeer,
	}, {
		name: "isolation_stage_1 flushed", script: "nft flush chain $t isolation_stage_1",
		names: "isolation_stage_1", probe: fromPeer,
	}, {
		name: "isolation_stage_2 flushed", script: "nft flush chain $t isolation_stage_2",
		names: "isolation_stage_2", probe: fromOther,
	}, {
		name: "forward flushed", script: "nft flush chain $t forward",
		names: "forward", probe: toForbidden,
	}, {
		name: "isolation deleted", script: "nft delete chain $t isolation",
		names: "isolation", probe: fromPeer,
	}, {
		name: "isolation_stage_1 deleted", script: "nft flush chain $t isolation; nft delete chain $t isolation_stage_1",
		names: "isolation", probe: fromPeer,
	}, {
		name: "isolation_stage_2 deleted", script: "nft flush chain $t isolation_stage_1; nft delete chain $t isolation_stage_2",
		names: "isolation_stage_", probe: fromPeer,
	}, {
		name: "forward deleted", script: "nft delete chain $t forward",
		names: "forward", probe: toForbidden,
	}, {
		name: "the operator's chain deleted", script: "nft flush chain $t forward; nft flush chain $t CNI-ADMIN; nft delete chain $t CNI-ADMIN",
		names: "CNI-ADMIN", probe: toForbidden, undo: nftForbidden,
	}, {
		name: "isolation without its hook", script: "nft delete chain $t isolation; nft add chain $t isolation; nft add rule $t isolation iifname @isolated_bridges jump isolation_stage_1",
		names: "isolation", probe: fromPeer, all: true, // a chain cannot get a hook later
	}, {
		name: "forward dropping", script: "nft add chain $t forward '{ policy drop; }'",
		names: "forward", probe: abroadIn, becomes: host.Blocked, all: true,
	}, {
		name: "isolated_bridges flushed", script: "nft flush set $t isolated_bridges",
		names: "isolated_bridges br1", probe: fromPeer,
	}, {
		name: "same_bridge flushed", script: "nft flush set $t same_bridge",
		names: "same_bridge br1", probe: within, becomes: host.Blocked,
	}, {
		name: "blocked_within flushed", script: "nft flush set $t blocked_within",
		names: "blocked_within br1", probe: fromPeer,
	}, {
		name: "published_ports flushed", script: "nft flush set $t published_ports",
		names: "published_ports br1", probe: fromOtherToPort, becomes: host.Blocked, all: true,
	}, {
		name: "containers_ipv4 flushed", script: "nft flush set $t containers_ipv4",
		names: "containers_ipv4", all: true,
	}, {
		name: "containers_ipv6 flushed", script: "nft flush set $t containers_ipv6",
		names: "containers_ipv6", all: true,
	}, {
		name: "not among isolated_bridges", script: "nft delete element $t isolated_bridges { br1 }",
		names: "isolated_bridges br1", probe: fromPeer,
	}, {
		name: "not in same_bridge", script: "nft delete element $t same_bridge { br1 . br1 }",
		names: "same_bridge br1",
	}, {
		name: "not in blocked_within", script: "nft delete element $t blocked_within { br1 . br1 }",
		names: "blocked_within br1", probe: fromPeer,
	}, {
		name: "not in published_ports", script: "nft delete element $t published_ports { br1 }",
		names: "published_ports br1", probe: fromOtherToPort, becomes: host.Blocked,
	}, {
		name: "the address accepted no more", script: "nft delete element $t containers_ipv4 { br1 . ADDRESS4 }",
		names: "containers_ipv4 ADDRESS4",
	}, {
		name: "the IPv6 address accepted no more", script: "nft delete element $t containers_ipv6 { br1 . ADDRESS6 }",
		names: "containers_ipv6 ADDRESS6",
	}, {
		name: "accept at the head of isolation", script: "nft insert rule $t isolation accept",
		names: "isolation", probe: fromPeer,
	}, {
		name: "accept at the head of isolation_stage_1", script: "nft insert rule $t isolation_stage_1 accept",
		names: "isolation_stage_1", probe: fromPeer,
	}, {
		name: "return at the head of isolation_stage_1", script: `nft insert rule $t isolation_stage_1 ip version 4 return; nft insert rule $t isolation_stage_1 ip6 version 6 return`,
		names: "isolation_stage_1", probe: fromPeer,
	}, {
		name: "accept at the head of isolation_stage_2", script: "nft insert rule $t isolation_stage_2 accept",
		names: "isolation_stage_2", probe: fromOther,
	}, {
		name: "accept at the head of forward", script: "nft insert rule $t forward accept",
		names: "forward", probe: toForbidden,
	}, {
		name: "goto at the head of isolation", script: "nft add chain $t other; nft add rule $t other accept; nft insert rule $t isolation goto other",
		names: "isolation", probe: fromPeer, undo: "nft delete chain $t other 2>/dev/null || true",
	}, {
		name: "a rule of somebody's behind all", script: "nft add rule $t isolation_stage_2 tcp dport 9 drop",
		names: "isolation_stage_2",
	}, {
		name: "a rule twice", script: "nft add rule $t forward jump CNI-ADMIN",
		names: "forward",
	}, {
		name: "the bridge's own traffic let through first", script: `unrule isolation_stage_2 "iifname . oifname @same_bridge return"; nft insert rule $t isolation_stage_2 iifname . oifname @same_bridge return`,
		names: "isolation_stage_2", probe: fromPeer,
	}, {
		name: "the operator's chain behind what is accepted", script: `unrule forward "jump CNI-ADMIN"; nft add rule $t forward jump CNI-ADMIN`,
		names: "forward", probe: toForbidden,
	}, {
		// The last, for portmap's rules are gone with it.
		name: "all tables flushed", script: "nft flush ruleset",
		names: "cni_firewall", probe: fromPeer, undo: nftForbidden, all: true,
	},
}

// abroadIn is open where nothing closes FORWARD.
const abroadIn = "from outside to isolated/allow, direct, TCP"

// nftPurposes has every rule, and what becomes of traffic without it. What the
// plugin accepts is for rules of the operator's own behind it, in the same chain:
// another table never hears of it.
var nftPurposes = []struct {
	chain, rule string
	probe       string
	becomes     host.Verdict
}{
	{"isolation", "iifname @isolated_bridges jump isolation_stage_1", fromPeer, host.Open},
	{"isolation_stage_1", "oifname @isolated_bridges jump isolation_stage_2", fromPeer, host.Open},
	{"isolation_stage_2", "ct direction original ct status dnat oifname @published_ports return", fromOtherToPort, host.Blocked},
	{"isolation_stage_2", "ct direction reply ct status dnat iifname @published_ports return", fromOtherToPort, host.Blocked},
	{"isolation_stage_2", "iifname . oifname @blocked_within jump drop_counted", fromPeer, host.Open},
	{"isolation_stage_2", "iifname . oifname @same_bridge return", within, host.Blocked},
	{"isolation_stage_2", "jump drop_counted", fromOther, host.Open},
	{"drop_counted", "drop", fromOther, host.Open},
	{"forward", "jump CNI-ADMIN", toForbidden, host.Open},
	{"forward", "ct direction original ct status dnat oifname @published_ports accept", "", ""},
	{"forward", "iifname . ip saddr @containers_ipv4 accept", "", ""},
	{"forward", "oifname . ip daddr @containers_ipv4 ct state established,related accept", "", ""},
	{"forward", "iifname . ip6 saddr @containers_ipv6 accept", "", ""},
	{"forward", "oifname . ip6 daddr @containers_ipv6 ct state established,related accept", "", ""},

	// What forged packets meet: TestForgeries.
	{"arrival", "ct direction original ct state related,new fib daddr type != local fib saddr . iif oif missing jump forged_source", "", ""},
	{"isolation_stage_2", "ct original ip daddr 127.0.0.0/8 jump drop_counted", "", ""},
	{"forged_source", `fib saddr oifname "br1" jump drop_forged`, "", ""},
	{"forged_source", `fib saddr oifname "br2" jump drop_forged`, "", ""},
	{"speakers", "iifname @isolated_ports meta protocol 8021q jump frames_drop", "", ""},
	{"speakers", "iifname @isolated_ports meta protocol 8021ad jump frames_drop", "", ""},
	{"speakers", "ip saddr @guarded_ipv4 iifname . ip saddr != @speakers_ipv4 jump frames_drop_forged", "", ""},
	{"speakers", "ip6 saddr @guarded_ipv6 iifname . ip6 saddr != @speakers_ipv6 jump frames_drop_forged", "", ""},
	{"drop_forged", "drop", "", ""},
	{"frames_drop", "drop", "", ""},
	{"frames_drop_forged", "drop", "", ""},
	{"frames", "iifname @isolated_ports oifname @isolated_ports ether type != ip ether type != ip6 ether type != arp jump frames_drop", "", ""},

	// What comes to a strict bridge, of which there is none: TestVerdicts.
	{"isolation", "oifname @strict_bridges jump strict", "", ""},
	{"strict", "ct direction reply return", "", ""},
	{"strict", "iifname . oifname @same_bridge return", "", ""},
	{"strict", "ct original ip daddr 127.0.0.0/8 jump drop_counted", "", ""},
	{"strict", "ct direction original ct status dnat oifname @published_ports return", "", ""},
	{"strict", "jump drop_counted", "", ""},

	// What is dropped without being counted: TestDrops.
	{"drop_counted", "update @dropped { iifname . oifname counter }", "", ""},
	{"drop_forged", "update @dropped_forged { iifname counter }", "", ""},
	{"frames_drop", "update @frames_dropped { iifname counter }", "", ""},
	{"frames_drop_forged", "update @frames_forged { iifname counter }", "", ""},
}
