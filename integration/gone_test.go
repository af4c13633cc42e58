// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
)

// TestReaderGone has the runtime go, with its ends of the pipes, ahead of the result of
// ADD. Nobody will know of the container.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		c := plain(t, h, host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall()), "newcomer")
		before := operators(h, state(t, h))
		for _, streams := range []string{"stdout", "stdout and stderr"} {
			cmd := host.Command(h.Firewall, "ADD", c.Conf(), c.Name, c.NetNS)
			unread, pipe, err := os.Pipe()
			ok(t, err)
			ok(t, unread.Close())
			cmd.Stdout = pipe
			if streams != "stdout" {
				cmd.Stderr = pipe
			}
			err = cmd.Run()
			ok(t, pipe.Close())
			if err == nil || strings.Contains(err.Error(), "signal") {
				t.Errorf("ADD without a reader of %s: %v", streams, err)
			}
			same(t, before, operators(h, state(t, h)), "ADD without a reader of "+streams)
			if left := records(t, dataDir); left != nil {
				t.Errorf("records left: %q", left)
			}
		}
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
	})
}

// TestStrangersDEL has firewalld hang while a container is deleted that no record speaks
// of.
func TestStrangersDEL(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		w := newFaked(t, h)
		must(w.other.Call(h.Firewall, "DEL"))(t)
		w.f.Inject(firewalldtest.Hang, 1, true)
		began := time.Now()
		o := finish(t, host.Command(h.Firewall, "DEL", w.c.Conf(), w.c.Name, w.c.NetNS))
		o.silent(t, "DEL of a stranger", "warning", "no answer in time")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("DEL took %s", took)
		}
	})
}

// descriptors runs a program with a limit of file descriptors.
func descriptors(t *testing.T, h *host.Host, limit int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firewall")
	ok(t, host.WriteScript(path, fmt.Sprintf("ulimit -n %d; exec %s \"$@\"\n", limit, h.Firewall)))
	return path
}

// TestFewDescriptors calls each verb with small limits of file descriptors. A call does its
// work, or it fails and leaves all as it was.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())
		c, other := plain(t, h, n, "newcomer"), plain(t, h, n, "other")
		must(other.Call(h.Firewall, "ADD"))(t)
		before := state(t, h)
		must(c.Call(h.Firewall, "ADD"))(t)
		after := canonical(state(t, h))
		must(c.Call(h.Firewall, "DEL"))(t)
		worked := 0
		for _, limit := range []int{3, 4, 5, 6, 9, 16, 39, 40} {
			plugin := descriptors(t, h, limit)
			calls := map[string]func() error{
				"ADD":   func() error { _, err := c.Call(plugin, "ADD"); return err },
				"CHECK": func() error { _, err := c.Call(plugin, "CHECK"); return err },
				"DEL":   func() error { _, err := c.Call(plugin, "DEL"); return err },
				"GC": func() error {
					_, err := gcOf(plugin, n, []map[string]string{{"containerID": other.Name, "ifname": "eth0"}})
					return err
				},
			}
			for _, verb := range []string{"ADD", "CHECK", "DEL", "GC"} {
				what := fmt.Sprintf("%s with %d file descriptors", verb, limit)
				if verb != "ADD" {
					must(c.Call(h.Firewall, "ADD"))(t)
				}
				want := map[bool]string{true: before, false: after}
				done := calls[verb]() == nil
				gone := done && (verb == "DEL" || verb == "GC") || !done && verb == "ADD"
				got := state(t, h)
				if !gone {
					got = canonical(got)
				}
				same(t, want[gone], got, what)
				if left := len(records(t, dataDir)); (left == 1) != gone {
					t.Errorf("%s: %d records", what, left)
				}
				if done {
					worked++
				}
				must(c.Call(h.Firewall, "DEL"))(t)
			}
		}
		if worked == 0 {
			t.Error("no call worked")
		}
	})
}
