// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes a report for people to read.
func (r Report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	r.Machine.print(t)
	r.printCalls(t)
	r.printGrowth(t)
	r.printFloor(t)
	r.printTraces(t)
	r.printPackets(t)
	r.printNerdctl(t)
	if len(r.LeftOut) > 0 {
		say(t, "\nLeft out: %s.\n", strings.Join(r.LeftOut, "; "))
	}
	return t.Flush()
}

// say writes to what keeps its first error for Flush.
func say(t *tabwriter.Writer, format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) }

func (m Machine) print(t *tabwriter.Writer) {
	say(t, "%s; %d x %s, Linux %s; load average %s before and %s after\n", m.Date, m.Processors, m.Processor, m.Kernel, m.LoadBefore, m.LoadAfter)
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		say(t, "%s: %s\n", name, m.Versions[name])
	}
}

func (r Report) printCalls(t *tabwriter.Writer) {
	section := ""
	for _, c := range r.Calls {
		if name := c.Backend + ", " + c.Setting.String(); name != section {
			section = name
			say(t, "\n%s\n", section)
			say(t, "containers\tat once\tverb\tupstream ms\t±\tours ms\t±\ttimes as fast\tof each round\ttarget\tCPU ms: upstream\tours\tpeak KiB: upstream\tours\tfailed: upstream\tours\t\n")
		}
		say(t, "%d\t%d\t%s\t%.1f\t%.0f %%\t%.1f\t%.0f %%\t%.1f\t%.1f–%.1f\t%s\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t\n", c.Containers, c.AtOnce, c.Verb,
			c.Upstream.Wall.Median, 100*c.Upstream.Wall.noise(), c.Ours.Wall.Median, 100*c.Ours.Wall.noise(), c.Faster, c.Pairs.Lower, c.Pairs.Upper,
			verdict(c.Target, c.met(), ""), c.Upstream.CPU.Median, c.Ours.CPU.Median,
			number(c.Upstream.Peak), number(c.Ours.Peak), number(float64(len(c.Upstream.Failures))), number(float64(len(c.Ours.Failures))))
	}
	r.printFailures(t)
}

// printFailures says of each row why the first of its calls failed that did.
func (r Report) printFailures(t *tabwriter.Writer) {
	for _, c := range r.Calls {
		for name, failures := range map[string][]string{"upstream": c.Upstream.Failures, "ours": c.Ours.Failures} {
			if len(failures) > 0 {
				say(t, "\n%s: %d of %s, %d at once with %d containers, failed, the first one with: %s\n", name, len(failures), c.Verb, c.AtOnce, c.Containers,
					strings.Join(strings.Fields(failures[0]), " "))
			}
		}
	}
}

// number leaves out what was not measured, or is none.
func number(n float64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", n)
}

func verdict(target float64, met bool, prefix string) string {
	switch {
	case target == 0:
		return ""
	case met:
		return fmt.Sprintf("%s%.4g met", prefix, target)
	}
	return fmt.Sprintf("%s%.4g MISSED", prefix, target)
}

func (r Report) printGrowth(t *tabwriter.Writer) {
	if len(r.Growth) == 0 {
		return
	}
	say(t, "\nADD with more containers, in times of ADD with fewer\nbackend\tsetting\tplugin\tfrom\tto\ttimes\ttarget\t\n")
	for _, g := range r.Growth {
		say(t, "%s\t%s\t%s\t%d\t%d\t%.2f\t%s\t\n", g.Backend, g.Setting, g.Plugin, g.From, g.To, g.Times, verdict(g.Target, g.Times <= g.Target, "at most "))
	}
}

func (r Report) printFloor(t *tabwriter.Writer) {
	if len(r.Floor) == 0 {
		return
	}
	say(t, "\nThe floor\nhost of\tvariant\tsetting\tcontainers\twhat\tms\t±\t\n")
	for _, f := range r.Floor {
		say(t, "%s\t%s\t%s\t%d\t%s\t%.2f\t%.0f %%\t\n", f.Side, f.Variant, f.Setting, f.Containers, f.What, f.Wall.Median, 100*f.Wall.noise())
	}
}

func (r Report) printTraces(t *tabwriter.Writer) {
	if len(r.Traces) == 0 {
		return
	}
	say(t, "\nWhere a call waits: the plugin and the programs that it starts, and the longest system calls, in ms, by strace, which makes all of it slower\n")
	for _, row := range r.Traces {
		var programs, calls []string
		for _, w := range row.Waits {
			if w.Call == "" {
				programs = append(programs, fmt.Sprintf("%s %.1f", w.Program, w.Milliseconds))
			} else {
				calls = append(calls, fmt.Sprintf("%.1f %s: %s", w.Milliseconds, w.Program, w.Call))
			}
		}
		say(t, "%s, %s, %d containers, %s: %s\n", row.Backend, row.Setting, row.Containers, row.Verb, strings.Join(programs, ", "))
		for _, c := range calls {
			say(t, "    %s\n", c)
		}
	}
}

// ratio returns two columns, which are empty where there is none.
func ratio(s Summary) string {
	if s.Count == 0 {
		return "\t"
	}
	return fmt.Sprintf("%.3f\t%.3f–%.3f", s.Median, s.Lower, s.Upper)
}

// cpu returns two columns, which are empty where it is not known.
func (p PacketRow) cpu() string {
	if p.CPU.Count == 0 {
		return "\t"
	}
	return fmt.Sprintf("%.1f\t%.0f %%", p.CPU.Median, 100*p.CPU.noise())
}

func (r Report) printPackets(t *tabwriter.Writer) {
	section := ""
	for _, p := range r.Packets {
		if name := fmt.Sprintf("%s, from the last of %d containers to the world outside (%s)", p.What, p.Containers, p.Unit); name != section {
			section = name
			say(t, "\n%s\nfirewall\trate\t±\tof none\tof each round\tof tracking only\tof same-bridge\tof each round\tCPU µs\t±\tof same-bridge\tof each round\ttarget\t\n", section)
		}
		say(t, "%s\t%.2f\t%.0f %%\t%.3f\t%.3f–%.3f\t%.3f\t%s\t%s\t\n", p.Firewall, p.Rate.Median, 100*p.Rate.noise(), p.Kept.Median, p.Kept.Lower, p.Kept.Upper, p.OfTracking.Median,
			strings.Join([]string{ratio(p.OfUsual), p.cpu(), ratio(p.CPUOfUsual)}, "\t"),
			verdict(p.Target, p.Kept.Median >= p.Target, "at least "))
	}
}

func (r Report) printNerdctl(t *tabwriter.Writer) {
	if r.Nerdctl == nil {
		return
	}
	say(t, "\nnerdctl, and what of it is the plugin: the time of its calls in one command, ahead of which a stand-in takes %.1f ms\n", r.Nerdctl.StandIn.Median)
	say(t, "backend\tsetting\tat once\tcommand\tupstream ms\t±\tours ms\t±\ttimes as fast\tof each round\tplugin ms: upstream\tours\tplugin CPU ms: upstream\tours\tshare: upstream\tours\t\n")
	for _, n := range r.Nerdctl.Rows {
		say(t, "%s\t%s\t%d\t%s\t%.0f\t%.0f %%\t%.0f\t%.0f %%\t%.2f\t%.2f–%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f %%\t%.1f %%\t\n", n.Backend, n.Setting, n.AtOnce, n.Command,
			n.Upstream.Wall.Median, 100*n.Upstream.Wall.noise(), n.Ours.Wall.Median, 100*n.Ours.Wall.noise(), n.Upstream.Wall.Median/n.Ours.Wall.Median, n.Pairs.Lower, n.Pairs.Upper,
			n.Upstream.Plugin.Median, n.Ours.Plugin.Median, n.Upstream.PluginCPU.Median, n.Ours.PluginCPU.Median, 100*n.Upstream.Share.Median, 100*n.Ours.Share.Median)
	}
}
