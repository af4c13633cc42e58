// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cni-isolation/firewall/pkg/firewall"
)

// Exit codes of the operator's commands.
const (
	exitWell  = 0
	exitWrong = 1 // with the host, or something could not be done
	exitUsage = 2
)

// errTold ends a command with exit code 1. What it printed says what is wrong.
var errTold = errors.New("something is wrong, and was told")

// operatorsArgs returns the arguments of an operator's command, or nil for a call by a
// runtime. nerdctl calls the plugin without a verb to learn its version, and not by the
// name that operators use.
func operatorsArgs() []string {
	if len(os.Args) > 1 {
		return os.Args[1:]
	}
	if filepath.Base(os.Args[0]) == program && os.Getenv("CNI_COMMAND") == "" {
		return []string{"help"}
	}
	return nil
}

// operate runs an operator's command and returns the exit code.
func (p plugin) operate(args []string) int {
	err := p.command(commands(), args)
	var usage *usageError
	switch {
	case err == nil:
		return exitWell
	case errors.Is(err, errTold):
		return exitWrong
	case errors.As(err, &usage):
		_, _ = fmt.Fprintln(p.stderr, err)
		return exitUsage
	}
	_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", program, err)
	return exitWrong
}

func (p plugin) command(all []command, args []string) error {
	switch args[0] {
	case "-h", "-help", "--help":
		args = slices.Concat([]string{"help"}, args[1:])
	case "-version", "--version":
		args = slices.Concat([]string{"version"}, args[1:])
	}
	c, rest, found := find(all, args)
	if !found {
		return unknownCommand(all, args)
	}
	in, err := c.parse(rest)
	if errors.Is(err, errHelp) {
		_, err := io.WriteString(p.stdout, c.help())
		return err
	}
	if err != nil {
		return err
	}
	return p.log.call(c.name, func() error { return c.run(p, in) })
}

// engineFor returns the engine for the records that a command line names.
func (p plugin) engineFor(in input) *firewall.Engine { return p.engine(in.dataDir()) }

// answer prints what a command has to say, as JSON or in words.
func (p plugin) answer(in input, report any, words string) error {
	if !in.isJSON() {
		_, err := io.WriteString(p.stdout, words)
		return err
	}
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
