// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

const (
	logVariable = "CNI_FIREWALL_LOG"
	logFile     = "/run/firewall.log"
)

// logged is a line of the log.
type logged struct {
	Msg, Verb, Network, Container, Interface, Bridge, Backend string

	Where          string
	Added, Removed []string
	Steps          int
	Milliseconds   float64
	Result, Error  string
}

// readLog returns the lines of the log, each of which must be whole, and takes them
// away.
func readLog(t *testing.T) []logged {
	t.Helper()
	text, err := os.ReadFile(logFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ok(t, err)
	ok(t, os.Remove(logFile))
	var all []logged
	for line := range strings.Lines(string(text)) {
		var l logged
		if err := json.Unmarshal([]byte(line), &l); err != nil || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("no whole line: %v: %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

// holding is all that the plugin can change on a host, each thing as the log calls
// it, behind the place where it is.
func holding(t *testing.T, h *host.Host) map[string]bool {
	t.Helper()
	held := map[string]bool{}
	where := ""
	for line := range strings.Lines(state(t, h)) {
		line = strings.TrimSuffix(line, "\n")
		flag := regexp.MustCompile(`^# port (\S+) of (\S+) is isolated$`).FindStringSubmatch(line)
		switch program, is := strings.CutPrefix(line, "# "); {
		case flag != nil:
			held["bridge "+flag[2]+": flag isolated of port "+flag[1]] = true
		case is:
			where = program
		default:
			if thing := nameOf(where, line); thing != "" {
				held[thing] = true
			}
		}
	}
	for _, file := range must(filepath.Glob(dataDir + "/*/*"))(t) {
		if name := filepath.Base(file); name != "lock" {
			held["records: "+name] = true
		}
	}
	return held
}

// nameOf returns what the log calls a line of a state, or nothing for what is part
// of something else.
func nameOf(where, line string) string {
	switch block, rest, more := strings.Cut(line, ": "); {
	case where == "firewalld":
		return "firewalld: " + rest + " of " + block
	case where != "nftables":
		if strings.HasPrefix(line, "-P") {
			return ""
		}
		return where + ": " + line
	case line == "table inet cni_firewall", line == "table bridge cni_firewall":
		return line + ": table"
	case !more:
		return tableOf(block) + block
	case strings.HasPrefix(rest, "element "):
		element, _, _ := strings.Cut(strings.TrimPrefix(rest, "element "), " comment ")
		return tableOf(block) + "element " + strings.TrimPrefix(block, "set ") + " " + withoutLength.ReplaceAllString(element, "")
	case strings.HasPrefix(block, "chain ") && !strings.HasPrefix(rest, "comment ") && !strings.HasPrefix(rest, "type "):
		return tableOf(block) + "rule of " + block + ": " + rest
	}
	return ""
}

// tableOf returns the table that has a chain or a set.
func tableOf(block string) string {
	for _, name := range []string{"isolated_ports", "guarded_", "speakers", "frames"} {
		if strings.Contains(block, " "+name) {
			return "table bridge cni_firewall: "
		}
	}
	return "table inet cni_firewall: "
}

var withoutLength = regexp.MustCompile(`/(32|128)$`)

// replay does to what was held what lines tell.
func replay(held map[string]bool, lines []logged) {
	for _, l := range lines {
		if strings.HasPrefix(l.Where, "interface ") {
			continue // a port that was cut off, or brought back, which is not part of a state
		}
		for _, what := range l.Removed {
			if strings.HasPrefix(what, "-") {
				what = map[string]string{"-D": "-A", "-X": "-N"}[what[:2]] + what[2:]
			}
			switch chain, rules := strings.CutPrefix(what, "rules of "); {
			case what == "table":
				maps.DeleteFunc(held, func(thing string, _ bool) bool { return strings.HasPrefix(thing, l.Where+": ") })
			case rules:
				maps.DeleteFunc(held, func(thing string, _ bool) bool { return strings.HasPrefix(thing, l.Where+": rule of "+chain+":") })
			default:
				delete(held, l.Where+": "+what)
			}
		}
		for _, what := range l.Added {
			if rule, inserted := strings.CutPrefix(what, "-I "); inserted {
				what = "-A " + rule
			}
			held[l.Where+": "+what] = true
		}
	}
}

// chronicle checks a call after the other against what it logs.
type chronicle struct {
	h *host.Host
	n *host.Network
}

// tells has a call make a change, and wants its log, done to what was held before
// the call, to lead to what is held after it.
func (c chronicle) tells(t *testing.T, verb string, of *host.Container, do func()) []logged {
	t.Helper()
	held := holding(t, c.h)
	do()
	lines := readLog(t)
	if len(lines) < 2 {
		t.Fatalf("%s logs %d lines", verb, len(lines))
	}
	replay(held, lines)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(holding(t, c.h))), slices.Sorted(maps.Keys(held))); diff != "" {
		t.Errorf("%s (-host +log):\n%s", verb, diff)
	}
	last := lines[len(lines)-1]
	if last.Msg != "called" || last.Steps != len(lines)-1 {
		t.Errorf("%s: the last of %d lines: %+v", verb, len(lines), last)
	}
	for _, l := range lines {
		want := logged{Verb: verb, Milliseconds: l.Milliseconds, Result: "ok"}
		if verb != "restore" {
			want.Network = c.n.Name
		}
		if of != nil {
			want.Container, want.Interface, want.Bridge, want.Backend = of.Name, "eth0", c.n.Bridge, c.n.Backend
			if want.Backend == "" {
				want.Backend = "iptables"
			}
		}
		got := l
		got.Msg, got.Where, got.Added, got.Removed, got.Steps = "", "", nil, nil, 0
		if diff := cmp.Diff(want, got); diff != "" || l.Milliseconds < 0 {
			t.Errorf("%s (-want +got): %s", verb, diff)
		}
	}
	return lines
}

// silent has a call change nothing, and log nothing.
func (c chronicle) silent(t *testing.T, what string, do func()) {
	t.Helper()
	do()
	if lines := readLog(t); lines != nil {
		t.Errorf("%s logs %+v", what, lines)
	}
}

// toldOf reports whether one of the lines tells of something that was added.
func toldOf(lines []logged, where, what string) bool {
	return slices.ContainsFunc(lines, func(l logged) bool {
		return l.Where == where && slices.ContainsFunc(l.Added, func(a string) bool { return strings.HasPrefix(a, what) })
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		ok(t, os.Setenv(logVariable, logFile))
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		one, two := plain(t, h, n, "one"), plain(t, h, n, "two")
		c := chronicle{h, n}
		add := func() {
			if got := must(one.Call(h.Firewall, "ADD"))(t); got != string(one.PrevResult)+"\n" {
				t.Errorf("standard output of ADD: %s", got)
			}
		}
		del := func() { must(one.Call(h.Firewall, "DEL"))(t) }
		restore := func() { must(h.Run(h.Firewall, "restore"))(t) }

		first := c.tells(t, "ADD", one, add)
		if !toldOf(first, "records", "2,") {
			t.Errorf("ADD logs no record: %+v", first)
		}
		c.silent(t, "the second ADD", add)
		c.silent(t, "CHECK", func() { must(one.Call(h.Firewall, "CHECK"))(t) })
		c.silent(t, "STATUS", func() { status(t, h.Firewall, n).silent(t, "STATUS") })
		c.silent(t, "status", func() { healthy(t, h, "after ADD") })
		c.silent(t, "restore of all that is there", restore)
		c.tells(t, "ADD", two, func() { must(two.Call(h.Firewall, "ADD"))(t) })

		shell(t, h, "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
		if lines := c.tells(t, "restore", nil, restore); !toldOf(lines, "bridge br1", "flag isolated of port veth") {
			t.Errorf("restore logs no flag: %+v", lines)
		}
		shell(t, h, "flush")
		c.tells(t, "restore", nil, restore)
		n.Firewall["ingressPolicy"] = "same-bridge"
		c.tells(t, "ADD", one, add)
		shell(t, h, "wipe")
		c.tells(t, "ADD", one, add)

		c.tells(t, "DEL", one, del)
		c.silent(t, "the second DEL", del)
		c.tells(t, "ADD", one, add)
		c.tells(t, "GC", nil, func() { must(gc(h, n, two))(t) })
		c.silent(t, "the second GC", func() { must(gc(h, n, two))(t) })
		c.tells(t, "DEL", two, func() { must(two.Call(h.Firewall, "DEL"))(t) })
	})
}

// TestLogTogether has calls log at once into one file, each with records of its own,
// so that none waits for another.
func TestLogTogether(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		ok(t, os.Setenv(logVariable, logFile))
		const writers = 16
		n := host.Dual("net", "br1", 1, place{"isolated", "allow"}.firewall())
		var all []*host.Container
		for i := range writers {
			all = append(all, plain(t, h, n, fmt.Sprintf("c%d", i)))
		}
		conf := func(c *host.Container, i int) string {
			return n.Conf(map[string]any{"prevResult": c.PrevResult, "dataDir": fmt.Sprintf("/run/cni/firewall%d", i)})
		}
		calls := map[string]int{}
		for range 5 {
			for _, verb := range []string{"ADD", "DEL"} {
				var wg sync.WaitGroup
				for i, c := range all {
					wg.Go(func() {
						if _, err := host.Call(h.Firewall, verb, conf(c, i), c.Name, c.NetNS); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				lines := readLog(t)
				steps := 0
				for _, l := range lines {
					steps += l.Steps
					if l.Msg == "called" {
						calls[l.Verb+" "+l.Container]++
					}
				}
				if steps+writers != len(lines) {
					t.Errorf("%s: %d lines of %d calls with %d steps", verb, len(lines), writers, steps)
				}
			}
		}
		for i := range writers {
			for _, verb := range []string{"ADD", "DEL"} {
				if got := calls[fmt.Sprintf("%s c%d", verb, i)]; got != 5 {
					t.Errorf("%s of c%d: %d lines", verb, i, got)
				}
			}
		}
	})
}

// TestLogImpossible has the log on a disk that is full, or read-only, and behind a
// link: each call works, says so, and nothing is written elsewhere.
func TestLogImpossible(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
		one := plain(t, h, n, "one")
		shell(t, h, `
			mkdir /run/full /run/fixed
			mount -t tmpfs -o size=4k tmpfs /run/full
			mount -t tmpfs -o ro tmpfs /run/fixed
			touch /run/full/log; head -c 4096 /dev/zero >/run/full/filler
			echo kept >/run/victim; ln -s /run/victim /run/link`)
		call := func(file string) string {
			t.Helper()
			o := finish(t, host.Command(h.Firewall, "ADD", one.Conf(), one.Name, one.NetNS, logVariable+"="+file))
			if o.err != nil || o.stdout != string(one.PrevResult)+"\n" {
				t.Errorf("ADD with a log in %s: %v: %s", file, o.err, o.stdout)
			}
			must(one.Call(h.Firewall, "CHECK"))(t)
			must(one.Call(h.Firewall, "DEL"))(t)
			return o.stderr
		}
		if got := call(logFile); got != "" || len(readLog(t)) == 0 {
			t.Errorf("with a log: %s", got)
		}
		for file, says := range map[string]string{
			"/run/full/log":  "no space left on device",
			"/run/fixed/log": "read-only file system",
			"/run/link":      "a symbolic link is in it",
			"log":            "it must be an absolute path, or stderr",
		} {
			got := call(file)
			if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "firewall: warning: ") || !strings.Contains(got, says) {
				t.Errorf("%s: not one warning with %q: %s", file, says, got)
			}
		}
		if got := must(os.ReadFile("/run/victim"))(t); string(got) != "kept\n" {
			t.Errorf("written through the link: %s", got)
		}
	})
}
