// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/netconf"
)

const usage = `firewall is a CNI plugin that container runtimes call. Its operator's commands:

  cni-firewall status [-o table|json] [--graph mermaid|dot]
        list networks and containers, and compare the kernel with the records
  cni-firewall restore
        put all rules back after a flush, isolation first; take over the bridges
        that another plugin isolates, and remove rules that nobody owns
  cni-firewall watch
        restore whenever others flush the rules, firewalld reloads or restarts, or
        a bridge is renamed
  cni-firewall retire [--force]
        leave the host to upstream's plugin: its isolation, and nothing of ours;
        refused where that would open something, unless forced

All take --data-dir DIRECTORY, for networks that set dataDir in their conflist.
`

// errUsage says that the command line is not valid. The user was told why.
var errUsage = errors.New("usage")

// operate runs an operator's command and returns the exit code: 0 for success, 1 if
// something is wrong with the host, 2 if the command line is not valid.
func (p plugin) operate(args []string) int {
	err := p.log.call(args[0], func() error { return p.command(args) })
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errNotInForce):
		return 1
	}
	_, _ = fmt.Fprintln(p.stderr, "firewall:", err)
	return 1
}

func (p plugin) command(args []string) error {
	switch args[0] {
	case "status":
		return p.commandStatus(args[1:])
	case "restore":
		flags, dataDir := p.flags("restore")
		flags.Bool("adopt", false, "nothing more: restore adopts anyway")
		if err := parseFlags(flags, args[1:]); err != nil {
			return err
		}
		return p.restore(*dataDir)
	case "watch":
		return p.commandWatch(args[1:])
	case "retire":
		flags, dataDir := p.flags("retire")
		forced := flags.Bool("force", false, "go on where upstream's plugin cannot isolate what now is isolated")
		if err := parseFlags(flags, args[1:]); err != nil {
			return err
		}
		return p.engine(*dataDir).Retire(*forced)
	case "help", "-h", "--help":
		_, err := io.WriteString(p.stdout, usage)
		return err
	}
	_, _ = fmt.Fprintf(p.stderr, "firewall: unknown command %q\n%s", args[0], usage)
	return errUsage
}

func (p plugin) restore(dataDir string) error {
	r, err := p.engine(dataDir).Restore()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("restored %s on %s", count(r.Attachments, "attachment"), count(r.Bridges, "bridge"))
	if r.Adopted > 0 {
		text += fmt.Sprintf(", %d adopted", r.Adopted)
	}
	_, err = fmt.Fprintln(p.stdout, text)
	return err
}

// errNotInForce ends "cni-firewall status" with exit code 1. The report says what is
// wrong.
var errNotInForce = errors.New("the rules are not in force")

func (p plugin) commandStatus(args []string) error {
	flags, dataDir := p.flags("status")
	output := flags.String("o", "table", "`format`: table or json")
	graph := flags.String("graph", "", "draw who reaches whom, in the `language` mermaid or dot")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	write := map[string]func(firewall.Survey, io.Writer) error{"table": writeTable, "json": writeJSON}[*output]
	if write == nil {
		return p.badFlag(flags, "o", *output, []string{"json", "table"})
	}
	if *graph != "" {
		lang, ok := graphs[*graph]
		if !ok {
			return p.badFlag(flags, "graph", *graph, slices.Sorted(maps.Keys(graphs)))
		}
		write = func(v firewall.Survey, w io.Writer) error { return writeGraph(v, w, lang) }
	}
	v, err := p.engine(*dataDir).Survey()
	if err != nil {
		return err
	}
	for _, warning := range v.Warnings {
		p.warn(warning)
	}
	if err := write(v, p.stdout); err != nil {
		return err
	}
	if !v.InForce() {
		return errNotInForce
	}
	return nil
}

func (p plugin) flags(command string) (flags *flag.FlagSet, dataDir *string) {
	flags = flag.NewFlagSet("firewall "+command, flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	return flags, flags.String("data-dir", netconf.DefaultDataDir,
		"`directory` of the records, as dataDir in the conflist")
}

func parseFlags(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return errUsage
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
		_, _ = fmt.Fprintln(flags.Output(), "firewall:", err)
	}
	if err != nil {
		return errUsage
	}
	return nil
}

func (p plugin) badFlag(flags *flag.FlagSet, name, value string, accepted []string) error {
	_, _ = fmt.Fprintf(p.stderr, "%s: -%s %q is unknown: it must be %s\n",
		flags.Name(), name, value, strings.Join(accepted, " or "))
	return errUsage
}
