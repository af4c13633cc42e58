// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/store"
)

func yes() (bool, error) { return true, nil }
func no() (bool, error)  { return false, nil }

// busy is an answer that another call keeps back, some times.
func busy(times int) func() (bool, error) {
	return func() (bool, error) {
		if times--; times >= 0 {
			return false, fmt.Errorf("asking: %w", store.ErrLocked)
		}
		return true, nil
	}
}

// TestWatcherRestores has events happen, at milliseconds, and says when the watcher
// restores and what it logs.
func TestWatcherRestores(t *testing.T) {
	t.Parallel()
	broken := func() (bool, error) { return false, errors.New("unreadable") }
	calm := event{what: "calm"}
	urgent, unneeded := event{"urgent", true, yes}, event{"unneeded", true, no}
	type events = map[int][]event // by time
	every := func(step, n int, e event) events {
		all := events{}
		for i := range n {
			all[1+i*step] = []event{e}
		}
		return all
	}
	for name, c := range map[string]struct {
		events events
		at     []int // milliseconds
		log    string
	}{
		"none":                             {nil, nil, ""},
		"one":                              {events{1: {calm}}, []int{51}, "calm"},
		"two soon":                         {events{1: {calm}, 31: {{what: "other"}}}, []int{81}, "calm, other"},
		"two equal ones":                   {events{1: {calm, calm}}, []int{51}, "calm"},
		"a long burst":                     {every(40, 16, calm), []int{501, 651}, "calm|calm"},
		"the isolation is gone":            {events{1: {urgent}}, []int{1}, "urgent"},
		"the isolation is gone in a burst": {events{1: {calm}, 31: {urgent}}, []int{31}, "urgent, calm"},
		"nothing is missing":               {events{1: {unneeded}}, nil, ""},
		"nothing is missing again":         {every(1, 300, unneeded), nil, ""},
		"one of them is needed":            {events{1: {{"a", false, no}, {"b", false, yes}, {"c", false, yes}}}, []int{51}, "b"},
		"what cannot be asked":             {events{1: {{"a", true, broken}}}, []int{1}, "a"},
		"two within one pause":             {events{1: {urgent}, 3: {urgent}}, []int{1, 51}, "urgent|urgent"},
		"a program that never stops":       {every(1, 300, urgent), []int{1, 51, 101, 151, 201, 251, 301}, strings.Repeat("urgent|", 7)},
		"another call works":               {events{1: {{"a", false, busy(3)}}}, []int{201}, "a"},
		"another call works on and on":     {events{1: {{"a", false, busy(99)}}}, nil, ""},
		"it works, and all may be open":    {events{1: {{"a", true, busy(99)}}}, []int{1}, "a"},
		"two, each with a restore":         {events{1: {urgent}, 101: {urgent}}, []int{1, 101}, "urgent|urgent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				since := func() int { return int(time.Since(start).Milliseconds()) }
				var at []int
				var log bytes.Buffer
				w := newWatcher(plugin{stderr: &log}, func(context.Context) (string, error) {
					at = append(at, since())
					return "done", nil
				})
				ctx, stop := context.WithCancel(t.Context())
				go w.run(ctx)
				for now := range 1000 {
					for _, e := range c.events[now] {
						w.happened(e)
					}
					time.Sleep(time.Millisecond)
				}
				stop()
				synctest.Wait()
				if diff := cmp.Diff(c.at, at); diff != "" {
					t.Errorf("restores (-want +got):\n%s", diff)
				}
				want := ""
				for _, what := range strings.FieldsFunc(c.log, func(r rune) bool { return r == '|' }) {
					want += "firewall: " + what + ": done\n"
				}
				if diff := cmp.Diff(want, log.String()); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestWatcherRetries has restores fail, and rules be flushed meanwhile.
func TestWatcherRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []float64
		var log bytes.Buffer
		results := []error{errors.New("busy"), errors.New("busy"), nil, errors.New("full")}
		w := newWatcher(plugin{stderr: &log}, func(context.Context) (string, error) {
			at = append(at, time.Since(start).Seconds())
			err := error(nil)
			if len(results) > 0 {
				err, results = results[0], results[1:]
			}
			if err != nil {
				return err.Error(), err
			}
			return "done", nil
		})
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		w.happened(event{"urgent", true, yes})
		time.Sleep(10 * time.Second)
		w.happened(event{"again", true, yes})
		time.Sleep(500 * time.Millisecond)
		w.happened(event{"more", true, yes}) // does not wait for the next try
		time.Sleep(10 * time.Second)
		stop()
		synctest.Wait()
		if want := []float64{0, 1, 3, 10, 10.5}; !slices.Equal(at, want) {
			t.Errorf("restores at %v, and not at %v", at, want)
		}
		want := "firewall: urgent: busy\nfirewall: trying again: done\nfirewall: again: full\nfirewall: more: done\n"
		if log.String() != want {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// TestInOneLine has the watcher tell what a restore wrote on several lines.
func TestInOneLine(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"":                                    "",
		"restored 1 attachment on 1 bridge\n": "restored 1 attachment on 1 bridge",
		"firewall: warning: old\nrestored 1 attachment on 1 bridge\n": "warning: old; restored 1 attachment on 1 bridge",
		"firewall: warning: old\ncni-firewall: no bus\nno bridge\n":   "warning: old; no bus; no bridge",
	} {
		if got := inOneLine(output); got != want {
			t.Errorf("%q: got %q, wanted %q", output, got, want)
		}
	}
}

// TestWatcherJSON reads what the watcher tells programs.
func TestWatcherJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		results := []error{errors.New("busy"), nil}
		w := newWatcher(plugin{stdout: &stdout, stderr: &stderr}, func(context.Context) (string, error) {
			err := results[0]
			results = results[1:]
			return map[bool]string{true: "done", false: "busy"}[err == nil], err
		})
		w.isJSON = true
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		w.happened(event{"flush", true, yes})
		time.Sleep(3 * time.Second)
		stop()
		synctest.Wait()
		want := `{"time":"2000-01-01T00:00:00Z","reason":"flush","result":"failed","said":"busy"}` + "\n" +
			`{"time":"2000-01-01T00:00:01Z","reason":"trying again","result":"ok","said":"done"}` + "\n"
		if diff := cmp.Diff(want, stdout.String()); diff != "" || stderr.Len() > 0 {
			t.Errorf("stderr %q, stdout (-want +got):\n%s", stderr.String(), diff)
		}
	})
}

// TestKeepListening has a way to listen end, and come back.
func TestKeepListening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(plugin{}, nil)
		results := []error{errors.New("no bus"), errors.New("no bus"), nil, errors.New("no bus"), nil}
		ctx, stop := context.WithCancel(t.Context())
		var heard []string
		w.keepListening(ctx, "listening", func(ready func()) error {
			err := results[0]
			if results = results[1:]; err == nil {
				ready()
			}
			for _, e := range w.settle(t.Context()) {
				heard = append(heard, e.what)
			}
			if len(results) == 0 {
				stop()
			}
			return err
		})
		if want := []string{"no bus", "listening", "no bus", "listening"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q", heard)
		}
	})
}
