// SPDX-License-Identifier: Apache-2.0

// Bench measures the plugin against upstream's, call by call in turn: ADD, CHECK
// and DEL as a runtime calls them, what no call can go below, and what packets
// lose on their way. Each plugin has a throw-away host of its own, with the same
// bridges and containers, and the calls go from one host to the next; so neither
// meets the other's rules, and what else the machine does disturbs all alike.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
)

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == workerArgument {
		err = serve()
	} else {
		err = run(os.Args[1:])
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	r, err := measure(o)
	if err != nil {
		return err
	}
	if o.plot != "" {
		if err := r.draw(o.plot); err != nil {
			return err
		}
	}
	if o.output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(os.Stdout)
}

func measure(o options) (Report, error) {
	r := Report{Machine: describe(o.nerdctl), LeftOut: o.leftOut()}
	all := groups(o)
	p := newProgress(o.steps(all))
	defer p.clear()
	if slices.Contains(o.parts, partCalls) {
		for _, g := range all {
			of, err := measureCalls(g, o, p)
			if err != nil {
				return r, err
			}
			r.Calls, r.Floor, r.Traces = append(r.Calls, of.Calls...), append(r.Floor, of.Floor...), append(r.Traces, of.Traces...)
		}
		slices.SortStableFunc(r.Calls, func(a, b CallRow) int {
			return cmp.Or(cmp.Compare(a.Setting.String(), b.Setting.String()), slices.Index(allBackends, a.Backend)-slices.Index(allBackends, b.Backend))
		})
		r.Growth = growth(r.Calls)
	}
	if slices.Contains(o.parts, partPackets) {
		var err error
		if r.Packets, err = measurePackets(o, p); err != nil {
			return r, err
		}
	}
	if o.nerdctl {
		var err error
		if r.Nerdctl, err = measureNerdctl(all, o, p); err != nil {
			return r, err
		}
	}
	r.Machine.LoadAfter = load()
	return r, nil
}
