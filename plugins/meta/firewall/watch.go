// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/link"
)

// Waits of the watcher.
const (
	quiet     = 50 * time.Millisecond  // without an event, before it restores
	burst     = 500 * time.Millisecond // of events, at most, before it restores
	reconnect = time.Second
	retryMost = 30 * time.Second
)

// commandWatch restores what firewalld forgets, and follows bridges to new names, until
// a signal ends it.
func (p plugin) commandWatch(args []string) error {
	flags, dataDir := p.flags("watch")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	self, err := os.Executable() // an upgrade puts the new program there
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	w := watcher{plugin: p, events: make(chan string, 100), restore: func(ctx context.Context) (string, error) {
		// A process of its own opens new connections, and dies alone.
		output, err := exec.CommandContext(ctx, self, "restore", "--data-dir", *dataDir).CombinedOutput()
		said := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(string(output)), "firewall: "), "\n", "; ")
		return cmp.Or(said, fmt.Sprint(err)), err
	}}
	go w.listen(ctx)
	go w.listenToLinks(ctx, p.engine(*dataDir).Moved)
	w.run(ctx)
	return nil
}

// watcher restores after events.
type watcher struct {
	plugin
	events  chan string
	restore func(context.Context) (said string, err error)
}

// listen reports what happens on the bus, and to the bus, until the context is done. A
// new connection is an event, too: something may have happened while there was none.
func (w watcher) listen(ctx context.Context) {
	for state := ""; ctx.Err() == nil; {
		err := w.listenOnce(ctx, func() {
			w.happened("watching for firewalld")
			state = ""
		})
		if text := fmt.Sprint(err); err != nil && text != state {
			w.happened(text)
			state = text
		}
		pause(ctx, reconnect)
	}
}

func (w watcher) listenOnce(ctx context.Context, ready func()) error {
	c, err := firewalld.Connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return c.Watch(ctx, ready, func(e firewalld.Event) { w.happened(string(e)) })
}

// listenToLinks reports that a bridge was renamed, or made anew, until the context is
// done. Containers come and go far more often: what is asked is cheap.
func (w watcher) listenToLinks(ctx context.Context, moved func() (bool, error)) {
	changed := make(chan struct{}, 1)
	happened := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	go func() {
		for ctx.Err() == nil {
			// Bridges that moved while nobody listened count, too.
			if err := link.Watch(ctx, happened, happened); err != nil {
				w.happened(err.Error())
			}
			pause(ctx, reconnect)
		}
	}()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-changed:
			pause(ctx, quiet)
			if found, err := moved(); found || err != nil {
				w.happened("a bridge has another name")
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// happened never waits. It may drop an event: all events mean the same.
func (w watcher) happened(event string) {
	select {
	case w.events <- event:
	default:
	}
}

// run restores after every event until the context is done. After a failure it tries
// again, later each time. It logs a line for each event, and for each new try whose
// result differs.
func (w watcher) run(ctx context.Context) {
	var retry <-chan time.Time
	wait, before := reconnect, ""
	for {
		what := "trying again"
		select {
		case <-ctx.Done():
			return
		case event := <-w.events:
			what, wait, before = w.settle(ctx, event), reconnect, ""
		case <-retry:
			wait = min(2*wait, retryMost)
		}
		said, err := w.restore(ctx)
		if ctx.Err() != nil {
			return
		}
		retry = nil
		if err != nil {
			retry = time.After(wait)
		}
		if said != before {
			_, _ = fmt.Fprintf(w.stderr, "firewall: %s: %s\n", what, said)
		}
		before = said
	}
}

// settle waits for the end of a burst of events, and returns them all.
func (w watcher) settle(ctx context.Context, event string) string {
	all := []string{event}
	end := time.After(burst)
	for {
		select {
		case <-ctx.Done():
			return strings.Join(all, ", ")
		case <-end:
			return strings.Join(all, ", ")
		case <-time.After(quiet):
			return strings.Join(all, ", ")
		case next := <-w.events:
			if !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
}
