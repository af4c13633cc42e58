// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewall"
)

// Waits of the watcher.
const (
	quiet     = 50 * time.Millisecond  // without an event, before it restores; and between two restores
	burst     = 500 * time.Millisecond // of events, at most, before it restores
	reconnect = time.Second
	retryMost = 30 * time.Second
)

// watch restores what others take away, and follows bridges to new names, until a signal
// ends it.
func (p plugin) watch(in input) error {
	self, err := os.Executable() // an upgrade puts the new program there
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	w := newWatcher(p, func(ctx context.Context) (string, error) {
		// A process of its own opens new connections, and dies alone.
		output, err := exec.CommandContext(ctx, self, "restore", "--data-dir", in.dataDir()).CombinedOutput()
		return cmp.Or(inOneLine(string(output)), fmt.Sprint(err)), err
	})
	w.isJSON = in.isJSON()
	engine := p.engineFor(in) // one, because it keeps its connection to nftables
	go w.listenToFirewalld(ctx)
	go w.listenToLinks(ctx, engine.Moved)
	go w.listenToTables(ctx, engine.Missing)
	w.run(ctx)
	return nil
}

// inOneLine returns what a restore said, without the names that its warnings and its
// error begin with.
func inOneLine(output string) string {
	var said []string
	for line := range strings.Lines(strings.TrimSpace(output)) {
		line = strings.TrimSuffix(line, "\n")
		said = append(said, strings.TrimPrefix(strings.TrimPrefix(line, "firewall: "), program+": "))
	}
	return strings.Join(said, "; ")
}

// event is a reason to restore.
type event struct {
	what   string
	atOnce bool                 // the isolation may be gone: the end of a burst is not waited for
	needed func() (bool, error) // whether there is something to restore; nil where that is certain
}

// watcher restores after events.
type watcher struct {
	plugin
	restore func(context.Context) (said string, err error)
	awake   chan struct{} // has something in it after an event
	isJSON  bool          // tell on stdout, for programs

	mu      sync.Mutex
	pending []event
}

func newWatcher(p plugin, restore func(context.Context) (string, error)) *watcher {
	return &watcher{plugin: p, restore: restore, awake: make(chan struct{}, 1)}
}

// happened never waits. Of equal events it keeps one.
func (w *watcher) happened(e event) {
	w.mu.Lock()
	if !slices.ContainsFunc(w.pending, func(p event) bool { return p.what == e.what && p.atOnce == e.atOnce }) {
		w.pending = append(w.pending, e)
	}
	w.mu.Unlock()
	select {
	case w.awake <- struct{}{}:
	default:
	}
}

// run restores after every event until the context is done. After a failure it tries
// again, later each time. It logs a line for each event, and for each new try whose
// result differs. A program that flushes whatever is restored has it restore 20 times a
// second, and no more.
func (w *watcher) run(ctx context.Context) {
	var retry <-chan time.Time
	wait, before := reconnect, ""
	for {
		what := "trying again"
		select {
		case <-ctx.Done():
			return
		case <-w.awake:
			if what = w.reasons(w.settle(ctx)); what == "" {
				continue
			}
			wait, before = reconnect, ""
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
			w.tell(what, said, err)
		}
		before = said
		pause(ctx, quiet)
	}
}

// tell writes a line that says why the watcher restored, and how that went.
func (w *watcher) tell(what, said string, err error) {
	if w.isJSON {
		_ = json.NewEncoder(w.stdout).Encode(watchReport{time.Now().UTC(), what, resultOf(err), said})
		return
	}
	_, _ = fmt.Fprintf(w.stderr, "firewall: %s: %s\n", what, said)
}

// settle waits for the end of a burst of events, unless one of them does not allow that,
// and returns them all.
func (w *watcher) settle(ctx context.Context) []event {
	end := time.After(burst)
	for !w.isUrgent() {
		select {
		case <-w.awake:
			continue
		case <-ctx.Done():
		case <-end:
		case <-time.After(quiet):
		}
		break
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.pending
	w.pending = nil
	return all
}

func (w *watcher) isUrgent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.pending, func(e event) bool { return e.atOnce })
}

// reasons returns why events are a reason to restore, or nothing if they are none. Those
// that allow no wait come first; behind a reason no more is asked, because one restore is
// for all.
func (w *watcher) reasons(events []event) string {
	slices.SortStableFunc(events, func(a, b event) int {
		switch {
		case a.atOnce == b.atOnce:
			return 0
		case a.atOnce:
			return -1
		}
		return 1
	})
	var all []string
	for _, e := range events {
		if e.needed == nil || len(all) == 0 && w.isNeeded(e) {
			all = append(all, e.what)
		}
	}
	return strings.Join(all, ", ")
}

// isNeeded asks. In the middle of another call it asks again later, unless the isolation
// may be gone. Where nothing can be asked, the restore says why.
func (w *watcher) isNeeded(e event) bool {
	needed, err := e.needed()
	if firewall.IsTemporary(err) && !e.atOnce {
		w.happened(e)
		return false
	}
	return needed || err != nil
}
