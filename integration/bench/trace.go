// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Wait is where a part of a call's time went: a program from its start to its end,
// or one system call.
type Wait struct {
	Program      string  `json:"program"` // that was started, or made the system call
	Call         string  `json:"call"`    // empty for all of the program
	Milliseconds float64 `json:"milliseconds"`
}

// Of a plugin's call the longest system calls are told of, of those that take at
// least some milliseconds.
const (
	longest = 3
	worth   = 1
)

// waiting are the system calls in which a program waits for the kernel, or another
// program's lock, for longer than it takes to look at. That a program waits for one
// that it started is seen in that one.
const waiting = "execve,exit_group,close,flock,sendto,sendmsg,recvfrom,recvmsg,setsockopt,getsockopt"

// trace runs the program under strace. Only those system calls are made slower.
func (p program) trace() ([]Wait, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log := filepath.Join(dir, "trace")
	traced := tool("", "strace", append([]string{
		"-f", "--seccomp-bpf", "-e", "trace=" + waiting, "-T", "-ttt", "-yy", "-s", "0", "-o", log, p.path,
	}, p.args...)...)
	traced.env, traced.stdin = p.env, p.stdin
	if _, err := traced.run(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	return waits(string(text)), nil
}

// Trace traces a call for one container.
func (w *Worker) Trace(call Call, found *[]Wait) (err error) {
	*found, err = w.program(call.Verb, w.container(call.First)).trace()
	return err
}

func (m *measured) trace(r *remote, c Call) error { return r.ask("Trace", c, &m.waits) }

// A line of strace -f -T -ttt: the process, when it began, the call and, once it has
// ended, how long it took, in seconds.
var traced = regexp.MustCompile(`^(\d+) +(\d+\.\d+) (.*?)(?: <(\d+\.\d+)>)?$`)

// waits returns the programs that were started, in their order, and the longest
// system calls of all.
func waits(log string) []Wait {
	programs := map[string]int{} // index in started, by process
	began, exiting := map[string]float64{}, map[string]float64{}
	unfinished := map[string]string{}
	var plugin string // its process; its threads have other numbers
	var started, calls []Wait
	for line := range strings.Lines(log) {
		m := traced.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		process, call := m[1], m[3]
		at, _ := strconv.ParseFloat(m[2], 64)
		took, _ := strconv.ParseFloat(m[4], 64)
		if begun, cut := strings.CutSuffix(call, " <unfinished ...>"); cut {
			unfinished[process] = begun
			continue
		}
		if _, rest, resumed := strings.Cut(call, " resumed>"); resumed {
			call = unfinished[process] + rest
		}
		name, _, _ := strings.Cut(call, "(")
		switch {
		case name == "execve" && strings.HasSuffix(call, " = 0"):
			plugin = cmp.Or(plugin, process)
			programs[process], began[process] = len(started), at
			started = append(started, Wait{Program: programOf(call)})
		case name == "exit_group":
			if _, is := programs[process]; !is {
				process = plugin
			}
			exiting[process] = at
		case strings.HasPrefix(call, "+++ exited"):
			n, is := programs[process]
			if !is {
				continue // a thread
			}
			started[n].Milliseconds = 1000 * (at - began[process])
			calls = append(calls, Wait{started[n].Program, "exit, which closes all files", 1000 * (at - exiting[process])})
		default:
			n := programs[process] // threads are the plugin's, which is the first
			if len(started) > n {
				calls = append(calls, Wait{started[n].Program, briefly(call), 1000 * took})
			}
		}
	}
	calls = slices.DeleteFunc(calls, func(w Wait) bool { return w.Milliseconds < worth })
	slices.SortStableFunc(calls, func(a, b Wait) int { return cmp.Compare(b.Milliseconds, a.Milliseconds) })
	return slices.Concat(started, calls[:min(longest, len(calls))])
}

// briefly returns a system call with the first of its arguments.
func briefly(call string) string {
	first, _, more := strings.Cut(call, ", ")
	if more {
		return first + ", …)"
	}
	return strings.TrimSuffix(first, " = 0")
}

// programOf returns the name of the program that an execve starts.
func programOf(call string) string {
	_, path, _ := strings.Cut(call, `"`)
	path, _, _ = strings.Cut(path, `"`)
	return filepath.Base(path)
}

// TraceRow is where the time of one call went.
type TraceRow struct {
	Backend string `json:"backend"`
	Setting
	Containers int    `json:"containers"`
	Verb       string `json:"verb"`
	Waits      []Wait `json:"waits"`
}

// traceCalls has each side's calls traced once. Upstream's are, too, to leave the
// hosts as they were, and not told of.
func traceCalls(g group, sides []*remote, containers int) ([]TraceRow, error) {
	s := series{containers, 1, map[string][]measured{}}
	for _, v := range verbs {
		s.of[v] = make([]measured, len(sides))
	}
	if err := s.round(sides, 0, (*measured).trace); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	var rows []TraceRow
	for side, r := range g.sides {
		if r.Plugin != Ours {
			continue
		}
		for _, v := range verbs {
			rows = append(rows, TraceRow{r.Name, r.setting(), containers, v, s.of[v][side].waits})
		}
	}
	return rows, nil
}
