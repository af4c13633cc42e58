// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// input is what the user typed behind the name of a command.
type input struct {
	command  command
	operands []string
	given    map[string]string // values of flags, by name
}

// value returns the value of a flag.
func (in input) value(name string) string {
	if value, given := in.given[name]; given {
		return value
	}
	i := slices.IndexFunc(in.command.flags, func(o option) bool { return o.name == name })
	return in.command.flags[i].preset
}

// has reports whether a flag was given.
func (in input) has(name string) bool {
	_, given := in.given[name]
	return given
}

func (in input) dataDir() string { return in.value(dataDir.name) }

func (in input) isJSON() bool { return in.value("output") == "json" }

// errHelp says that the user asks for the help of a command.
var errHelp = errors.New("help is asked for")

// usageError says why a command line is not valid.
type usageError struct {
	command string // empty if it is none
	problem string
}

func (e *usageError) Error() string {
	name := strings.TrimSpace(program + " " + e.command)
	help := strings.TrimSpace(program + " help " + e.command)
	return fmt.Sprintf("%s: %s\nRun %q to see what there is.", name, e.problem, help)
}

func (c command) refuse(format string, operands ...any) error {
	return &usageError{c.name, fmt.Sprintf(format, operands...)}
}

// parse reads the arguments behind the name of a command. Flags may stand anywhere, with
// two dashes or one; what stands behind "--" is no flag.
func (c command) parse(args []string) (input, error) {
	in := input{command: c, given: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			in.operands = append(in.operands, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			in.operands = append(in.operands, arg)
			continue
		}
		var err error
		if args, err = in.parseFlag(arg, args); err != nil {
			return input{}, err
		}
	}
	return in, c.checkOperands(in.operands)
}

// parseFlag reads a flag and its value, and returns the arguments behind.
func (in input) parseFlag(arg string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	o, err := in.command.option(name)
	switch {
	case err != nil:
		return nil, err
	case o.value == "" && hasValue:
		return nil, in.command.refuse("%s takes no value", name)
	case o.value != "" && !hasValue && len(rest) == 0:
		return nil, in.command.refuse("%s needs a value: %s", name, o.placeholder())
	case o.value != "" && !hasValue:
		value, rest = rest[0], rest[1:]
	}
	if o.accepted != nil && !slices.Contains(o.accepted, value) {
		return nil, in.command.refuse("%s %q is unknown: it must be %s", name, value, strings.Join(o.accepted, " or "))
	}
	in.given[o.name] = value
	return rest, nil
}

// option returns the flag that the user typed.
func (c command) option(typed string) (option, error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(typed, "-"), "-")
	if bare == "h" || bare == "help" {
		return option{}, errHelp
	}
	if bare == "" {
		return option{}, c.refuse("unknown flag %q", typed)
	}
	var known []string
	for _, o := range c.flags {
		if bare == o.name || bare == o.short {
			return o, nil
		}
		if !o.obsolete {
			known = append(known, "--"+o.name)
		}
	}
	return option{}, c.refuse("unknown flag %q%s", typed, suggestion("--"+bare, known))
}

// checkOperands compares the number of operands with what the help shows.
func (c command) checkOperands(operands []string) error {
	wanted := strings.Fields(c.operands)
	for i, w := range wanted {
		if i >= len(operands) && !strings.HasPrefix(w, "[") {
			return c.refuse("%s is missing", w)
		}
	}
	if len(operands) > len(wanted) && !strings.Contains(c.operands, "...") {
		return c.refuse("unexpected argument %q", operands[len(wanted)])
	}
	return nil
}
