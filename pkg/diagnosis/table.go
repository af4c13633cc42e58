// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/iptables"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/store"
)

// explanation says what an error means to the operator, and which command cures it.
// Words in capitals stand for what the error names; DETAIL stands for its text.
type explanation struct {
	of       func(error) (operands []string, is bool) // pairs of a word and its value
	sentence string
	cure     string
}

// explanations are in the order in which an error is looked for. docs/TROUBLESHOOTING.md
// has the same table.
var explanations = []explanation{
	{
		is(ErrAlone),
		"the kernel lacks nf_tables, so iptables isolates alone: a flush, or a rule ahead, opens it, " +
			"and published ports are closed between isolated networks; load the module: DETAIL",
		"modprobe nf_tables",
	}, {
		is(ErrNoIPv6),
		"containers reach each other by IPv6, as nothing on this host isolates in it; install ip6tables: DETAIL",
		"apt-get install iptables",
	}, {
		is(iptables.ErrNotInstalled),
		"the backend iptables lacks a program and cannot read or write its rules; " +
			"install it (with dnf: iptables-nft): DETAIL",
		"apt-get install iptables",
	}, {
		is(iptables.ErrUnusable),
		`iptables is installed and does not work; leave "backend" out of the conflist, ` +
			"or load what the kernel lacks: DETAIL",
		"modprobe -a ip_tables ip6_tables nft_compat xt_conntrack",
	}, {
		is(iptables.ErrFormer),
		"the host switched to another variant of iptables while containers ran, and both hold rules; " +
			"restore removes those of the former: DETAIL",
		cureRestore,
	}, {
		is(nftables.ErrUnsupported),
		"the kernel lacks nf_tables, which the backends nftables and firewalld need; load the module: DETAIL",
		"modprobe nf_tables",
	}, {
		isMissingModule,
		"the kernel lacks a module that the plugin's table needs; load it, after installing the package that has it " +
			"(linux-modules-extra, kernel-modules-extra) where that fails: DETAIL",
		"modprobe MODULE",
	}, {
		isForeignTable,
		"another program's table has the name that the plugin needs; delete that table: DETAIL",
		"nft delete table FAMILY cni_firewall",
	}, {
		is(firewalld.ErrNotRunning),
		"firewalld is stopped, so its zones hold no container addresses; start it: DETAIL",
		"systemctl start firewalld",
	}, {
		is(firewalld.ErrNoAnswer),
		"firewalld did not answer in time: it starts, reloads, has too much to do, or hangs; " +
			"try again, and restart it only if that does not help: DETAIL",
		"systemctl restart firewalld",
	}, {
		is(firewalld.ErrElsewhere),
		"firewalld filters another network namespace, not this one; " + adviseNFTables + ": DETAIL",
		cureReload,
	}, {
		is(firewalld.ErrNotAuthorized),
		"firewalld refuses this user; " + adviseNFTables + ": DETAIL",
		cureReload,
	}, {
		is(firewalld.ErrStrict),
		"firewalld blocks published ports that it did not open itself; turn StrictForwardPorts off: DETAIL",
		"sed -i 's/^StrictForwardPorts=.*/StrictForwardPorts=no/' /etc/firewalld/firewalld.conf && " +
			"firewall-cmd --reload && " + cureRestore,
	}, {
		is(ErrCutOff),
		"chain FORWARD has policy DROP, as ufw and Docker set it, so containers without rules are cut off; " +
			"restore their rules: DETAIL",
		cureRestore,
	}, {
		isForwardChain,
		"chain FORWARD of PROGRAM has policy DROP, as ufw and Docker set it, " +
			"and an accept in another table cannot override it; " +
			`change the policy, or set "backend": "iptables" in the conflist and add the containers again: DETAIL`,
		"PROGRAM -P FORWARD ACCEPT",
	}, {
		isFirewalldRule,
		"firewalld drops what no zone of its allows, and an accept in another table cannot override it; " +
			`give the network a zone that does, or set "backend": "firewalld" in the conflist ` +
			"and add the containers again: DETAIL",
		"firewall-cmd --zone=trusted --add-interface=INTERFACE",
	}, {
		isForwardChainRule,
		"a rule of PROGRAM drops what the plugin accepts in another table; " +
			`accept container traffic ahead of it, or set "backend": "iptables" in the conflist ` +
			"and add the containers again: DETAIL",
		"PROGRAM -I FORWARD -i INTERFACE -j ACCEPT && " +
			"PROGRAM -I FORWARD -o INTERFACE -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
	}, {
		isForwardRule,
		"a rule of another program drops what the plugin accepts; accept container traffic ahead of it: DETAIL",
		`nft 'insert rule FAMILY TABLE CHAIN iifname "INTERFACE" accept; ` +
			`insert rule FAMILY TABLE CHAIN oifname "INTERFACE" ct state established,related accept; ` +
			`insert rule FAMILY TABLE CHAIN oifname "INTERFACE" ct status dnat accept'`,
	}, {
		isForwardBlocker,
		"another table drops what the plugin accepts; " +
			"change the chain's policy, or accept container traffic there too: DETAIL",
		"nft chain FAMILY TABLE CHAIN '{ policy accept; }'",
	}, {
		isUnguarded,
		"containers reach what another program keeps closed, as the plugin's accepts come first in FORWARD; " +
			"close it ahead of them: DETAIL",
		"PROGRAM -I FORWARD -i BRIDGE -o INTERFACE " +
			"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
	}, {
		is(ErrKept),
		"a bridge stays isolated for the sake of a port that may be a container's, and has no record; " +
			"once the port is gone, restore removes the isolation: DETAIL",
		cureRestore,
	}, {
		isFlowtableOfFirewalld,
		"firewalld's flowtable carries established connections past all rules: one that began " + whileOpen +
			"; turn NftablesFlowtable off, or end the connections: DETAIL",
		"sed -i 's/^NftablesFlowtable=.*/NftablesFlowtable=off/' /etc/firewalld/firewalld.conf && " +
			"firewall-cmd --reload && " + cureRestore,
	}, {
		isFlowtable,
		"a flowtable carries established connections past all rules: one that began " + whileOpen +
			"; delete the rule that adds them, or end the connections: DETAIL",
		"nft list table FAMILY TABLE",
	}, {
		is(ErrGone),
		"a bridge is gone, but the records and rules of its containers are left; restore removes them: DETAIL",
		cureRestore,
	}, {
		is(ErrAdrift),
		"a bridge is gone and its containers still run; their isolation is kept for the bridge that they get; " +
			"add them again, or delete them: DETAIL",
		cureReload,
	}, {
		is(ErrDeleted),
		"a container was deleted by another plugin, or by nobody; restore removes what is left of it: DETAIL",
		cureRestore,
	}, {
		is(ErrUnowned),
		"rules are left that belong to no container: of the last boot, of another plugin or backend; " +
			"restore removes them: DETAIL",
		cureRestore,
	}, {
		is(ErrForeign),
		"another plugin isolated a bridge, and the next ADD or restore takes it over; until then a flush of iptables opens it: DETAIL",
		cureRestore,
	}, {
		is(link.ErrFlag),
		"br_netfilter was switched on or off, so containers of an isolated bridge reach each other, " +
			"or cannot reach its published ports; restore sets the port flags: DETAIL",
		cureRestore,
	}, {
		isNotForwarding,
		"the host does not forward packets; switch forwarding on: DETAIL",
		"sysctl -w SYSCTL=1",
	}, {
		is(store.ErrNewer),
		"this record was written by a newer version of the plugin; install that version again: DETAIL",
		"make install",
	}, {
		isFile,
		"this record is not valid, but its bridge stays isolated; " +
			"add its container again, or remove the file if the container is gone: DETAIL",
		"rm FILE",
	}, {
		isHostConfiguration,
		"the host's configuration cannot be used, so that every ADD is refused; correct it, or remove it: DETAIL",
		"cni-firewall config check",
	}, {
		is(ErrDiffers),
		"rules are missing, or another program changed them; restore them: DETAIL",
		cureRestore,
	},
}

const (
	cureRestore = "cni-firewall restore"
	cureReload  = "podman network reload --all"

	whileOpen = "while rules were missing, or before CNI-ADMIN dropped it, goes on"

	adviseNFTables = `set "backend": "nftables" in the conflist and add the containers again`
)
