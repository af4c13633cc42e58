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

// newcomer is a container whose calls befalls something, beside another one that stays.
type newcomer struct {
	h             *host.Host
	network       *host.Network
	c, other      *host.Container
	before, after string // its ADD; after is canonical
}

var newcomerVerbs = []string{"ADD", "CHECK", "DEL", "GC"}

func newNewcomer(t *testing.T, h *host.Host) newcomer {
	t.Helper()
	n := newcomer{h: h, network: host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())}
	n.c, n.other = plain(t, h, n.network, "newcomer"), plain(t, h, n.network, "other")
	must(n.other.Call(h.Firewall, "ADD"))(t)
	n.before = state(t, h)
	must(n.c.Call(h.Firewall, "ADD"))(t)
	n.after = canonical(state(t, h))
	must(n.c.Call(h.Firewall, "DEL"))(t)
	return n
}

// call calls a verb of a plugin that something befalls. It does its work, or it fails and
// leaves all as it was, but for its records where keepsRecord says so.
func (n newcomer) call(t *testing.T, plugin, verb, what string, keepsRecord bool) (worked bool) {
	t.Helper()
	if verb != "ADD" {
		must(n.c.Call(n.h.Firewall, "ADD"))(t)
	}
	var err error
	if verb == "GC" {
		_, err = gcOf(plugin, n.network, []map[string]string{{"containerID": n.other.Name, "ifname": "eth0"}})
	} else {
		_, err = n.c.Call(plugin, verb)
	}
	gone := err == nil && (verb == "DEL" || verb == "GC") || err != nil && verb == "ADD"
	if got := state(t, n.h); gone {
		same(t, n.before, got, verb+" with "+what)
	} else {
		same(t, n.after, canonical(got), verb+" with "+what)
	}
	if left := len(records(t, dataDir)); (left == 1) != gone && !keepsRecord {
		t.Errorf("%s with %s: %v, %d records", verb, what, err, left)
	}
	must(n.c.Call(n.h.Firewall, "DEL"))(t)
	same(t, n.before, state(t, n.h), "DEL after "+verb+" with "+what)
	return err == nil
}

// TestFewDescriptors calls each verb with small limits of file descriptors. A call does its
// work, or it fails and leaves all as it was.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		n := newNewcomer(t, h)
		worked := 0
		for _, limit := range []int{3, 4, 5, 6, 9, 16, 39, 40} {
			plugin := descriptors(t, h, limit)
			for _, verb := range newcomerVerbs {
				if n.call(t, plugin, verb, fmt.Sprintf("%d file descriptors", limit), false) {
					worked++
				}
			}
		}
		if worked == 0 {
			t.Error("no call worked")
		}
	})
}
