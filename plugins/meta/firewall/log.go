// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/cni-isolation/firewall/pkg/journal"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// logVariable says where a call logs what it changes: an absolute path, or stderr.
// Runtimes pass their environment on to plugins.
const logVariable = "CNI_FIREWALL_LOG"

// callLog logs a line for each step that changes the host, and one for each call that
// changed it or failed. The lines are JSON: rules contain spaces and quotes, and names
// come from others, so that any other notation would be hard to parse. A log that fails
// never stops a call.
//
// A nil callLog logs nothing.
type callLog struct {
	logger func() *slog.Logger
	mu     sync.Mutex // guards the rest: the tables of two families change at once
	verb   string
	about  policy.Attachment
	steps  int
}

// newCallLog returns the log that the environment asks for. Its first line opens it.
func newCallLog(stderr io.Writer) *callLog {
	to := os.Getenv(logVariable)
	if to == "" {
		return nil
	}
	l := &callLog{logger: sync.OnceValue(func() *slog.Logger {
		w, err := openLog(to, stderr)
		if err != nil {
			warn(stderr, err)
			w = io.Discard
		}
		return slog.New(slog.NewJSONHandler(w, nil))
	})}
	journal.Listen(l.step)
	return l
}

// changing are the calls that may change the host.
var changing = []string{"ADD", "DEL", "GC", "restore"}

// call runs a call and logs its result.
func (l *callLog) call(verb string, do func() error) error {
	if l == nil || !slices.Contains(changing, verb) {
		return do()
	}
	l.verb = verb
	began := time.Now()
	err := do()
	if l.steps > 0 || err != nil {
		l.line("called", err, time.Since(began), slog.Int("steps", l.steps))
	}
	return err
}

// logged adds the log to a verb.
func (p plugin) logged(verb string, do func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	if p.log == nil {
		return do
	}
	return func(args *skel.CmdArgs) error {
		return p.log.call(verb, func() error {
			p.log.setAbout(ofCall(args))
			return do(args)
		})
	}
}

// ofCall returns the names in a call, which need not be valid.
func ofCall(args *skel.CmdArgs) policy.Attachment {
	var conf struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(args.StdinData, &conf) // the verb reports what is wrong with it
	return policy.Attachment{Network: conf.Name, ContainerID: args.ContainerID, IfName: args.IfName}
}

// setAbout sets the attachment that later lines name.
func (l *callLog) setAbout(a policy.Attachment) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.about = a
}

func (l *callLog) step(s journal.Step) {
	l.mu.Lock()
	l.steps++
	l.mu.Unlock()
	l.line("changed", s.Err, s.Took,
		slog.String("where", s.Where), slog.Any("added", list(s.Added)), slog.Any("removed", list(s.Removed)))
}

// list returns a list that is not null in JSON, even if it is empty.
func list(words []string) []string { return append([]string{}, words...) }

func (l *callLog) line(message string, err error, took time.Duration, attrs ...slog.Attr) {
	l.mu.Lock()
	all := []slog.Attr{slog.String("verb", l.verb)}
	for _, a := range []struct{ key, value string }{
		{"network", l.about.Network}, {"container", l.about.ContainerID}, {"interface", l.about.IfName},
		{"bridge", l.about.Bridge}, {"backend", string(l.about.Backend)},
	} {
		if a.value != "" {
			all = append(all, slog.String(a.key, a.value))
		}
	}
	l.mu.Unlock()
	all = append(append(all, attrs...), slog.Float64("milliseconds", float64(took.Microseconds())/1000))
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
		all = append(all, slog.String("error", err.Error()))
	}
	l.logger().LogAttrs(context.Background(), level, message, append(all, slog.String("result", resultOf(err)))...)
}

func resultOf(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
