// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/cni-isolation/firewall/pkg/netconf"
)

// program is the name under which operators call the plugin.
const program = "cni-firewall"

// command is an operator's command. The help, the completions and the manual are made
// from its words. It is added by an entry in commands, and by the function that runs it.
type command struct {
	name     string // one word or two
	operands string // as the help shows them: "[COMMAND...]" may be left out and be many
	does     string // in the list of commands
	details  string // what its own help and the manual say
	flags    []option
	example  string
	run      func(plugin, input) error
}

// option is a flag of a command.
type option struct {
	name, short string
	value       string   // what stands for its value; empty for a flag without one
	accepted    []string // all that the value may be; nil for whatever it is
	preset      string   // the value that it has where it is not given
	does        string
	obsolete    bool // accepted, and never mentioned
}

// directory is the value of flags that shells complete to directories.
const directory = "DIRECTORY"

var dataDir = option{
	name: "data-dir", value: directory, preset: netconf.DefaultDataDir,
	does: "directory of the records, as dataDir in the conflist",
}

// output is the flag by which a command prints JSON, instead of what is for people.
func output(people string) option {
	return option{
		name: "output", short: "o", value: "FORMAT", accepted: []string{people, "json"}, preset: people,
		does: "how to print it",
	}
}

// commands are the operator's commands, in the order of the help. It is a function, so
// that a runtime's call does not pay for it.
func commands() []command {
	return []command{
		{
			name: "status", does: "list networks, and compare the kernel with the records",
			details: "List the networks, their policies and containers, and compare the kernel with the records. " +
				"What is wrong is named with the command that cures it. This changes nothing.",
			flags: []option{output("table"), {
				name: "graph", value: "LANGUAGE", accepted: []string{"mermaid", "dot"},
				does: "draw who reaches whom instead",
			}, {
				name: "matrix", does: "print a table of who reaches whom instead",
			}, dataDir},
			example: "cni-firewall status -o json | jq .problems",
			run:     plugin.showStatus,
		},
		{
			name: "explain", operands: "FROM TO[:PORT]", does: "say whether a connection gets through, and why not",
			details: "Say whether a connection gets through, by which rule of the kernel, or what stops it, and what to change. " +
				"FROM and TO are a container (its ID, or the beginning of it), a network, an address, \"host\" or \"outside\". " +
				"PORT may end in /udp. host:PORT leads to the container that publishes the port. " +
				"This sends nothing and changes nothing. " +
				"It exits with 1 where the kernel does something else than the policies of the networks ask for.",
			flags:   []option{output("text"), dataDir},
			example: "cni-firewall explain 1f3a9c40 host:8080",
			run:     plugin.explain,
		},
		{
			name: "restore", does: "put all rules back after a flush, isolation first",
			details: "Put all rules back after a flush or a restart of the firewall, isolation first. " +
				"Take over the bridges that another plugin isolates by iptables: the CNI project's firewall, or the standalone isolation. " +
				"Then remove what these left behind, and rules of this plugin that belong to nobody.",
			flags:   []option{output("text"), dataDir, {name: "adopt", obsolete: true}},
			example: "cni-firewall restore && cni-firewall status",
			run:     plugin.restore,
		},
		{
			name: "watch", does: "restore whenever others flush the rules, or a bridge is renamed",
			details: "Restore at the start; whenever another program has deleted rules, " +
				"in the plugin's tables of nftables or in the filter tables of iptables; " +
				"whenever firewalld has reloaded, started or stopped; and whenever a bridge has been renamed or made anew. " +
				"It writes a line for each to standard error, or as JSON to standard output, and ends on SIGTERM.",
			flags:   []option{output("text"), dataDir},
			example: "cni-firewall watch -o json | jq .reason",
			run:     plugin.watch,
		},
		{
			name: "drops", does: "count what the isolation dropped, by network",
			details: "Count the packets and bytes that the isolation dropped since its rules were made, by the networks " +
				"that they came from and went to, and say which place counted them: a packet that nftables drops never " +
				"reaches iptables. A network that is not known, as of the world outside, is a dash. This changes nothing.",
			flags: []option{output("table"), {
				name: "follow", short: "f", does: "print a line for each count that grows, until a signal ends it",
			}, dataDir},
			example: "cni-firewall drops --follow",
			run:     plugin.drops,
		},
		{
			name: "retire", does: "leave the host to upstream's plugin, and nothing of this one",
			details: "Leave the host to the CNI project's plugin, with containers running. " +
				"Its isolation by iptables is in force for all of them; the table, the other chains, the port flags " +
				"and the records of this plugin are gone. Run it before the plugin is uninstalled. " +
				"Where the CNI project's plugin could not isolate what now is isolated, this changes nothing, says why, and exits with 1.",
			flags: []option{output("text"), {
				name: "force", does: "go on all the same, and open what was named",
			}, dataDir},
			example: "cni-firewall retire",
			run:     plugin.retire,
		},
		{
			name: "config check", operands: "[FILE]", does: "read " + netconf.HostFile,
			details: "Read the host's configuration, " + netconf.HostFile + ", as every call of the plugin does, " +
				"and list what it sets, in the order in which it is asked. " +
				"Exit with 1 where a call could not use it. " +
				"A FILE is a draft of it, which may belong to anybody. This changes nothing.",
			flags:   []option{output("text")},
			example: "cni-firewall config check draft.json",
			run:     plugin.checkConfig,
		},
		{
			name: "version", does: "print the version",
			details: "Print the version of the plugin.",
			flags:   []option{output("text")},
			example: "cni-firewall version -o json | jq -r .version",
			run:     plugin.version,
		},
		{
			name: "help", operands: "[COMMAND...]", does: "explain a command",
			details: "List the commands, or explain one of them.",
			example: "cni-firewall help status",
			run:     plugin.help,
		},
	}
}

// find returns the command that arguments begin with, and the arguments behind its name.
func find(all []command, args []string) (c command, rest []string, found bool) {
	for n := min(len(args), 2); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for _, c := range all {
			if c.name == name {
				return c, args[n:], true
			}
		}
	}
	return command{}, args, false
}

// shown returns the flags that users are told of.
func (c command) shown() []option {
	var list []option
	for _, o := range c.flags {
		if !o.obsolete {
			list = append(list, o)
		}
	}
	return append(list, option{name: "help", short: "h", does: "print this help"})
}

// spellings returns what a user may type for a flag.
func (o option) spellings() []string {
	if o.short == "" {
		return []string{"--" + o.name}
	}
	return []string{"-" + o.short, "--" + o.name}
}
