// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

// TestWatcherOfSlowFirewalld has firewalld reload, and answer nothing for longer than a
// call waits, as on a host that has too much to do. The watcher says so, and restores
// once there are answers.
func TestWatcherOfSlowFirewalld(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		f := newFaked(t, h)
		w := startWatcher(t, h)
		must(f.other.Call(h.Firewall, "CHECK"))(t)
		soon(t, h, 35*time.Second, "answers come again", func() {
			f.f.Inject(firewalldtest.Hang, 1, true)
			f.f.Reload()
			ok(t, host.Await(func() error {
				if !strings.Contains(w.said(t), "no answer in time (10s)") {
					return errors.New("the watcher says nothing of a firewalld that does not answer")
				}
				return nil
			}))
			f.f.Inject(firewalldtest.None, 0, false)
		}, check(h, f.other))
		w.end(t)
	})
}

// TestWatcherOfDefaultZone has firewalld take another default zone, and go back to its
// defaults, with both of its backends and both of the plugin's that it may flush. What
// it flushes is back, and isolated it always was.
func TestWatcherOfDefaultZone(t *testing.T) {
	t.Parallel()
	for _, key := range []string{host.FirewalldZones, "iptables"} {
		for _, backend := range []string{"nftables", "iptables"} {
			t.Run(key+",FirewallBackend="+backend, func(t *testing.T) {
				host.Test(t, func(t *testing.T, h *host.Host) {
					ok(t, h.UseVariant("nft"))
					must(h.Bus())(t)
					f := must(h.Firewalld(backend, "trusted"))(t)
					n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
					n.Backend = key
					c := plain(t, h, n, "container")
					must(c.Call(h.Firewall, "ADD"))(t)
					isolated := isolationOf(state(t, h))
					w := startWatcher(t, h)
					soon(t, h, 2*time.Second, "another default zone", func() {
						must(f.Cmd("--set-default-zone=trusted"))(t) // no change at first
						must(f.Cmd("--set-default-zone=public"))(t)
					}, func() error {
						if !strings.Contains(w.said(t), "firewalld has another default zone: ") {
							return errors.New("the watcher says nothing of the default zone")
						}
						return nil
					}, check(h, c))
					soon(t, h, 2*time.Second, "a default zone that flushes", func() {
						must(f.Cmd("--set-default-zone=public"))(t) // no change at first
						// As a version does that flushes with it.
						if key == host.FirewalldZones {
							must(f.Cmd("--zone=trusted", "--remove-source="+c.IPv4+"/32"))(t)
						} else {
							shell(t, h, "iptables -F CNI-FORWARD")
						}
						must(f.Cmd("--set-default-zone=trusted"))(t)
					}, check(h, c))
					soon(t, h, 2*time.Second, "defaults", func() { must(f.Cmd("--reset-to-defaults"))(t) }, check(h, c))
					same(t, isolated, isolationOf(state(t, h)), "isolation")
					w.end(t)
				})
			})
		}
	}
}
