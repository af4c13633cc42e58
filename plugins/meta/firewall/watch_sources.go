// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// listenToFirewalld reports what happens on the bus, and to the bus.
func (w *watcher) listenToFirewalld(ctx context.Context) {
	w.keepListening(ctx, "watching for firewalld", func(ready func()) error {
		c, err := firewalld.Connect()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		return c.Watch(ctx, ready, func(e firewalld.Event) { w.happened(event{what: string(e)}) })
	})
}

// listenToLinks reports that a bridge was renamed, or made anew. Containers come and go
// far more often: what is asked is cheap.
func (w *watcher) listenToLinks(ctx context.Context, moved func() (bool, error)) {
	w.keepListening(ctx, "watching interfaces", func(ready func()) error {
		return link.Watch(ctx, ready, func() {
			w.happened(event{what: "a bridge has another name", needed: moved})
		})
	})
}

// listenToTables reports that rules were deleted. What the plugin itself deletes is no
// reason for haste, and in the filter tables, which start programs to be read and never
// isolate alone where there are events, none at all.
func (w *watcher) listenToTables(ctx context.Context, missing func(policy.DriverName, bool) (bool, error)) {
	changed := func(what string, name policy.DriverName, atOnce bool) {
		w.happened(event{what, atOnce, func() (bool, error) { return missing(name, !atOnce) }})
	}
	go nftables.WatchLegacy(ctx, func() {
		changed("rules of iptables-legacy were changed", policy.Filter, false)
	})
	w.keepListening(ctx, "watching nftables", func(ready func()) error {
		return nftables.Watch(ctx, ready, func(e nftables.Event) {
			who, started := programOf("/proc", e.Process)
			switch {
			case e.Driver == policy.Table:
				changed(who+" changed the table", e.Driver, !e.Own)
			case !started:
				changed(who+" deleted rules of iptables", e.Driver, false)
			}
		})
	})
}

// keepListening listens until the context is done. A new connection is an event, too:
// something may have happened while there was none. So is an error, as long as it is
// another one.
func (w *watcher) keepListening(ctx context.Context, what string, listen func(ready func()) error) {
	for state := ""; ctx.Err() == nil; {
		err := listen(func() {
			w.happened(event{what: what})
			state = ""
		})
		if text := fmt.Sprint(err); err != nil && text != state {
			w.happened(event{what: text})
			state = text
		}
		pause(ctx, reconnect)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
