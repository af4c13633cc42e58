// SPDX-License-Identifier: Apache-2.0

// Bench measures the plugin against upstream's, call by call in turn.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == workerArgument {
		err = serve()
	} else {
		err = run(os.Args[1:])
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
	var r Report
	all := groups(o)
	p := newProgress(len(all) * len(o.containers) * (o.rounds + len(o.atOnce)))
	for _, g := range all {
		rows, err := measureCalls(g, o, p)
		if err != nil {
			return err
		}
		r.Calls = append(r.Calls, rows...)
	}
	p.clear()
	e := json.NewEncoder(os.Stdout)
	if o.output == "json" {
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, row := range r.Calls {
		if row.Floor != "" {
			fmt.Printf("floor %-16s %-10s %5d %-40s %8.2f ms ±%.0f%%\n", row.Backend, row.Families, row.Containers, row.Floor, row.Ours.Median, 100*row.Ours.noise())
			continue
		}
		fmt.Printf("%-16s %-10s %5d %3d %-6s %8.2f ms ±%2.0f%% %8.2f ms ±%2.0f%%  %5.1fx [%.1f %.1f]  %6.0f %6.0f  %d %d\n", row.Backend, row.Families, row.Containers, row.AtOnce, row.Verb,
			row.Upstream.Median, 100*row.Upstream.noise(), row.Ours.Median, 100*row.Ours.noise(), row.Ratio, row.Faster.Lower, row.Faster.Upper, row.UpstreamPeak, row.OursPeak, len(row.UpstreamFailures), len(row.OursFailures))
		for _, f := range append(row.UpstreamFailures, row.OursFailures...)[:min(2, len(row.UpstreamFailures)+len(row.OursFailures))] {
			fmt.Println("   ", f)
		}
	}
	return nil
}
