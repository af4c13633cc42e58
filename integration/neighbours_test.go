// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// filterer is another program that filters a host.
type filterer struct {
	name   string
	docker string // its rules
	ufw    bool
	guards bool // a rule of Docker's closes what is not published, and not just the policy
}

var filterers = []filterer{
	{"Docker_28", host.Docker28, false, true},
	{"Docker_20", host.Docker20, false, false},
	{"Docker_28,_ufw", host.Docker28, true, true},
}

// shore is a container of ours, one of Docker's, and the places around them.
type shore struct {
	ours, docker, self, outside *host.Container
}

const (
	dockerPublished, ourPublished = 8080, 8001
	unpublishedPort               = 81
)

func newShore(t *testing.T, h *host.Host) *shore {
	t.Helper()
	n := host.Dual("net1", "br1", 1, place{"same-bridge", "allow"}.firewall())
	n.Plain = true
	d := host.Dual("docker", "docker0", 9, nil)
	d.Plain = true
	s := &shore{
		outside: must(h.Outside())(t), self: must(h.Self())(t),
		ours: must(h.Add(n, "ours", map[int]int{ourPublished: containerPort}))(t), docker: must(h.Add(d, "docker", nil))(t),
	}
	for _, c := range []*host.Container{s.ours, s.docker, s.outside} {
		ok(t, c.Serve(containerPort))
	}
	ok(t, s.docker.Serve(unpublishedPort))
	return s
}

// way is how one place gets to another.
type way struct {
	name     string
	from, to *host.Container
	port     int
	atHost   bool // at the host's address
	closed   bool // by Docker and ufw, as long as the plugin does not come
	accepted bool // by the plugin, if nothing else has the last word
}

func (s *shore) ways(dockerGuards bool) []way {
	return []way{
		{"ours to docker, unpublished", s.ours, s.docker, unpublishedPort, false, true, !dockerGuards},
		{"ours to docker, published", s.ours, s.docker, dockerPublished, true, false, false},
		{"ours to the outside", s.ours, s.outside, containerPort, false, true, true},
		{"docker to ours", s.docker, s.ours, containerPort, false, false, false},
		{"docker to ours, published", s.docker, s.ours, ourPublished, true, false, false},
		{"docker to the outside", s.docker, s.outside, containerPort, false, false, false},
		{"the outside to docker, unpublished", s.outside, s.docker, unpublishedPort, false, true, false},
		{"the outside to docker, published", s.outside, s.docker, dockerPublished, true, false, false},
		{"the outside to ours", s.outside, s.ours, containerPort, false, true, false},
		{"the outside to ours, published", s.outside, s.ours, ourPublished, true, true, true},
		{"the host to docker", s.self, s.docker, unpublishedPort, false, false, false},
		{"the host to ours", s.self, s.ours, containerPort, false, false, false},
	}
}

// run returns what becomes of connections of both families. What looks blocked, and should
// not, is asked once more, with more patience.
func (w way) run(want host.Verdict) string {
	addresses := []string{w.to.IPv4, w.to.IPv6}
	if w.atHost {
		addresses = []string{host.HostIPv4, host.HostIPv6}
	}
	var verdicts []string
	for _, a := range addresses {
		verdict := w.connect(a, host.Patience)
		if verdict == string(host.Blocked) && want == host.Open {
			verdict = w.connect(a, 10*host.Patience)
		}
		verdicts = append(verdicts, verdict)
	}
	return strings.Join(slices.Compact(verdicts), ", ")
}

func (w way) connect(address string, patience time.Duration) string {
	verdict, name, err := w.from.Connect(address, w.port, patience)
	if err != nil || verdict == host.Open && name != w.to.Name {
		return fmt.Sprint(verdict, name, err)
	}
	return string(verdict)
}

// checkWays ends the test unless each way is as it should be.
func checkWays(t *testing.T, when string, ways []way, isOpen func(way) bool) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, w := range ways {
		wanted := openIf(isOpen(w))
		want[w.name] = string(wanted)
		wg.Go(func() {
			verdict := w.run(wanted)
			mu.Lock()
			defer mu.Unlock()
			got[w.name] = verdict
		})
	}
	wg.Wait()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", when, diff)
	}
}

// settle has the neighbours make their rules.
func (n filterer) settle(t *testing.T, h *host.Host, s *shore) {
	t.Helper()
	if n.ufw {
		ok(t, h.UFW())
	}
	ok(t, h.Docker(n.docker, s.docker.IPv4, s.docker.IPv6))
}

// counted is what iptables-save says of packets and of the time.
var counted = regexp.MustCompile(`(?m) \[\d+:\d+\]$|^#.*\n`)

// theirs returns the rules of iptables without ours and portmap's.
func theirs(t *testing.T, h *host.Host) string {
	t.Helper()
	text := must(h.Run("sh", "-ec", "iptables-save; ip6tables-save"))(t)
	lines := strings.Split(counted.ReplaceAllString(text, ""), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "CNI-") }), "\n")
}

// TestNeighbours has Docker and ufw filter a host, and shows who reaches whom before,
// during and after the plugin has a container there.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	for _, n := range filterers {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			for _, b := range host.Backends {
				if n.ufw && b.Key == host.FirewalldZones {
					continue // nobody runs both
				}
				t.Run(b.Name, func(t *testing.T) {
					onBackend(t, b, func(t *testing.T, h *host.Host) { testFilterer(t, h, n) })
				})
			}
		})
	}
}

func testFilterer(t *testing.T, h *host.Host, n filterer) {
	if n.ufw {
		ok(t, h.Scratch())
	}
	s := newShore(t, h)
	ways := s.ways(n.guards)
	direct := slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return w.atHost && w.to == s.docker })
	checkWays(t, "alone", direct, func(way) bool { return true })
	n.settle(t, h, s)
	rules := theirs(t, h)
	checkWays(t, "before", ways, func(w way) bool { return !w.closed })

	accepts := !h.Backend.HasTable() // or FORWARD drops after the plugin's accepts
	during := func(w way) bool { return !w.closed || accepts && w.accepted }
	must(s.ours.Call(h.Firewall, "ADD"))(t)
	checkWays(t, "during", ways, during)
	if accepts {
		checkBypass(t, h, n, s)
		checkOvertaken(t, h, n, s)
	}
	must(s.ours.Call(h.Firewall, "CHECK"))(t)
	same(t, rules, theirs(t, h), "the neighbours' rules during")
	must(s.ours.Call(h.Firewall, "DEL"))(t)
	ok(t, s.ours.Del())
	same(t, rules, theirs(t, h), "the neighbours' rules after the last DEL")
	others := slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return w.from == s.ours || w.to == s.ours })
	checkWays(t, "after", others, func(w way) bool { return !w.closed })
}

// checkBypass has status tell what the plugin's accepts open, if they do, with a cure that
// closes it, and opens and closes nothing else.
func checkBypass(t *testing.T, h *host.Host, n filterer, s *shore) {
	t.Helper()
	if n.guards {
		healthy(t, h, n.name)
		return
	}
	rules := theirs(t, h)
	undo := cureWarnings(t, h, `FORWARD keeps packets from "docker0", and accepts those from "br1" first`)
	healthy(t, h, n.name+", cured")
	checkWays(t, "cured", s.ways(true), func(w way) bool { return !w.closed || w.accepted })
	must(s.ours.Call(h.Firewall, "ADD"))(t)
	checkWays(t, "cured, and added again", s.ways(true), func(w way) bool { return !w.closed || w.accepted })
	shell(t, h, undo)
	same(t, rules, theirs(t, h), "the cure undone")
}

// cureWarnings runs the cure of each warning of status, all of which say something, and
// returns what undoes them.
func cureWarnings(t *testing.T, h *host.Host, says string) (undo string) {
	t.Helper()
	lines := slices.Collect(strings.Lines(must(h.Run("sh", "-c", h.Firewall+" status 2>&1 >/dev/null"))(t)))
	if len(lines) == 0 {
		t.Fatalf("status says nothing of: %s", says)
	}
	for _, line := range lines {
		contains(t, "status", line, []string{says})
		_, cure, _ := strings.Cut(line, `: run "`)
		cure = strings.TrimSuffix(cure, "\"\n")
		shell(t, h, cure)
		undo += strings.Replace(cure, " -I ", " -D ", 1) + "\n"
	}
	return undo
}

// checkOvertaken puts the jump to CNI-FORWARD right behind the isolation, where upstream's plugin has it: CHECK passes,
// the accepts open what Docker closes, status says so, and one ADD closes it. Docker's next
// start and another ADD then move nothing.
func checkOvertaken(t *testing.T, h *host.Host, n filterer, s *shore) {
	t.Helper()
	if !n.guards {
		return
	}
	jump := `FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`
	ways := s.ways(true)[:1]
	shell(t, h, fmt.Sprintf("for i in iptables ip6tables; do $i -D %s; $i -I %s; done", jump, strings.Replace(jump, " ", " 3 ", 1)))
	must(s.ours.Call(h.Firewall, "CHECK"))(t)
	checkWays(t, "upstream's order", ways, func(way) bool { return true })
	cureWarnings(t, h, `FORWARD keeps packets from "docker0", and accepts those from "br1" first`)
	checkWays(t, "upstream's order, cured", ways, func(way) bool { return false })
	shell(t, h, "for i in iptables ip6tables; do $i -D FORWARD 1; done")
	must(s.ours.Call(h.Firewall, "ADD"))(t)
	checkWays(t, "upstream's order, and an ADD", ways, func(way) bool { return false })

	shell(t, h, `for i in iptables ip6tables; do for c in FORWARD USER; do $i -D FORWARD -j DOCKER-$c; $i -I FORWARD -j DOCKER-$c; done; done`)
	before := state(t, h)
	must(s.ours.Call(h.Firewall, "ADD"))(t)
	same(t, before, state(t, h), "an ADD after a start of Docker")
	checkWays(t, "Docker started", ways, func(way) bool { return false })
}
