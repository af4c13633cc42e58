// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestCompanions has calls wait for each other. The first whose turn it is does the
// work of all in one transaction, and nothing of it differs from what each would
// have done.
func TestCompanions(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		first, crowd := newCrowd(t, h, 12)
		for _, verb := range []string{"ADD", "DEL"} {
			s := newShims(t, fault{})
			for c, err := range inLine(t, crowd, nothing, func(c *host.Container) error {
				stdout, err := c.Call(h.Firewall, verb, "PATH="+string(s))
				if want := string(c.PrevResult) + "\n"; err == nil && verb == "ADD" && stdout != want {
					err = fmt.Errorf("it prints %s", stdout)
				}
				return err
			}) {
				if err != nil {
					t.Errorf("%s of %s: %v", verb, c.Name, err)
				}
			}
			for program, n := range s.count(t) {
				if n > 1 {
					t.Errorf("%d calls of %s start %s %d times", len(crowd), verb, program, n)
				}
			}
			if lines := twice(state(t, h)); lines != nil {
				t.Errorf("after %s, more than once:\n%s", verb, strings.Join(lines, "\n"))
			}
			if verb == "ADD" {
				together := canonical(state(t, h))
				for _, c := range crowd {
					must(c.Call(h.Firewall, "CHECK"))(t)
					must(c.Call(h.Firewall, "ADD"))(t)
				}
				same(t, together, canonical(state(t, h)), "an ADD of each, alone")
			}
		}
		for _, c := range append(crowd, first) {
			ok(t, c.Del())
		}
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// TestCompanionsFault has the call fail, or die, that does the work of others. They
// do it themselves then.
func TestCompanionsFault(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		first, crowd := newCrowd(t, h, 6)
		for _, kind := range []string{"failure", "work, then fail", "killing", "work, then killing"} {
			for _, verb := range []string{"ADD", "DEL"} {
				what := fmt.Sprintf("%s with %s", verb, kind)
				s := newShims(t, fault{"ip6tables-restore", 1, 1, kind})
				failed := 0
				for c, err := range inLine(t, crowd, nothing, func(c *host.Container) error {
					_, err := c.Call(h.Firewall, verb, "PATH="+string(s))
					return err
				}) {
					if err != nil {
						failed++
						must(c.Call(h.Firewall, verb))(t)
					}
				}
				if want := map[bool]int{true: 1}[strings.Contains(kind, "killing")]; failed != want {
					t.Errorf("%s: %d of %d calls fail, and not %d", what, failed, len(crowd), want)
				}
				now := state(t, h)
				for _, c := range crowd {
					switch lines := linesWith(now, c.IPv4+"/", c.IPv6+"/"); {
					case verb == "ADD":
						must(c.Call(h.Firewall, "CHECK"))(t)
					case lines != nil:
						t.Errorf("%s: leaked:\n%s", what, strings.Join(lines, "\n"))
					}
				}
			}
		}
		for _, c := range append(crowd, first) {
			ok(t, c.Del())
		}
		same(t, before, remaining(t, h, state(t, h)), "after the last DEL")
	})
}

// TestCompanionsDead has a runtime give up a call that waits: nothing is added for
// a container that may be deleted already.
func TestCompanionsDead(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		_, crowd := newCrowd(t, h, 4)
		victim := crowd[2]
		results := inLine(t, crowd, func() {
			pid := holder(t, waitingOf(t, victim))
			ok(t, syscall.Kill(pid, syscall.SIGKILL))
			ok(t, host.Await(func() error {
				if syscall.Kill(pid, 0) == nil {
					return fmt.Errorf("process %d is still there", pid)
				}
				return nil
			}))
		}, func(c *host.Container) error {
			_, err := c.Call(h.Firewall, "ADD")
			return err
		})
		for c, err := range results {
			if (err != nil) != (c == victim) {
				t.Errorf("ADD of %s: %v", c.Name, err)
			}
		}
		now := state(t, h)
		if lines := linesWith(now, victim.IPv4, victim.IPv6); lines != nil {
			t.Errorf("added for a call that is dead:\n%s", strings.Join(lines, "\n"))
		}
		if left := records(t, dataDir); len(left) != len(crowd) { // the first's and three more
			t.Errorf("records: %q", left)
		}
	})
}

// TestCompanionsUnheard has a runtime not take the result of one call, whoever does
// its work: nothing is left of it, and the others are done.
func TestCompanionsUnheard(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		wrapper := filepath.Join(t.TempDir(), "unheard")
		ok(t, host.WriteScript(wrapper, "exec "+h.Firewall+" >/dev/full\n"))
		_, crowd := newCrowd(t, h, 4)
		before := state(t, h)
		for _, victim := range crowd {
			for c, err := range inLine(t, crowd, nothing, func(c *host.Container) error {
				plugin := h.Firewall
				if c == victim {
					plugin = wrapper
				}
				_, err := c.Call(plugin, "ADD")
				return err
			}) {
				if (err != nil) != (c == victim) {
					t.Errorf("ADD of %s: %v", c.Name, err)
				}
				if c != victim {
					must(c.Call(h.Firewall, "CHECK"))(t)
				}
			}
			if lines := linesWith(state(t, h), victim.IPv4+"/", victim.IPv6+"/", victim.IPv4+"\n", victim.IPv6+"\n"); lines != nil {
				t.Errorf("left of %s:\n%s", victim.Name, strings.Join(lines, "\n"))
			}
			if left := records(t, dataDir); len(left) != len(crowd) { // the first's and three more
				t.Errorf("records: %q", left)
			}
			for _, c := range crowd {
				must(c.Call(h.Firewall, "DEL"))(t)
			}
			same(t, canonical(before), canonical(state(t, h)), "after DEL")
		}
	})
}

// TestCompanionsDisagree changes a network's policy between two calls that wait:
// what holds is what the one or the other says, for both.
func TestCompanionsDisagree(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		_, crowd := newCrowd(t, h, 4)
		conf := func(c *host.Container, p string) string {
			return strings.Replace(c.Conf(), `"ingressPolicy":"isolated"`, fmt.Sprintf(`"ingressPolicy":%q`, p), 1)
		}
		policies := map[*host.Container]string{crowd[0]: "same-bridge", crowd[2]: "isolated"} // of one network
		for c, err := range inLine(t, []*host.Container{crowd[0], crowd[2]}, nothing, func(c *host.Container) error {
			_, err := host.Call(h.Firewall, "ADD", conf(c, policies[c]), c.Name, c.NetNS)
			return err
		}) {
			if err != nil {
				t.Errorf("ADD of %s: %v", c.Name, err)
			}
		}
		held := 0
		for _, p := range policies {
			var errs []error
			for c := range policies {
				_, err := host.Call(h.Firewall, "CHECK", conf(c, p), c.Name, c.NetNS)
				errs = append(errs, err)
			}
			if errors.Join(errs...) == nil {
				held++
			}
		}
		if held != 1 {
			t.Errorf("%d of the two policies hold\n%s", held, state(t, h))
		}
		said := map[string]bool{}
		for _, path := range records(t, dataDir) {
			said[strings.Split(filepath.Base(path), ",")[8]] = true // Entry in pkg/store
		}
		if len(said) != 1 {
			t.Errorf("what the records of one network say: %v", said)
		}
	})
}

// newCrowd returns a container that has its rules, and others that are to get
// theirs, on two networks in turn.
func newCrowd(t *testing.T, h *host.Host, size int) (first *host.Container, crowd []*host.Container) {
	t.Helper()
	networks := []*host.Network{
		host.Dual("net1", "br1", 1, place{"isolated", "allow"}.firewall()),
		host.Dual("net2", "br2", 2, place{"same-bridge", "deny"}.firewall()),
	}
	for i := range size {
		crowd = append(crowd, plain(t, h, networks[i%2], fmt.Sprintf("container%d", i)))
	}
	first = plain(t, h, networks[0], "first")
	for _, n := range networks {
		n.Plain = false
	}
	must(first.Call(h.Firewall, "ADD"))(t)
	return first, crowd
}

func nothing() {}

// inLine holds the plugin's lock until a call for each container waits for it, and
// meanwhile does something else. It returns what became of the calls.
func inLine(t *testing.T, containers []*host.Container, meanwhile func(), call func(*host.Container) error) map[*host.Container]error {
	t.Helper()
	lock := must(filepath.Glob(dataDir + "/*/lock"))(t)
	if len(lock) != 1 {
		t.Fatalf("locks: %q", lock)
	}
	f := must(os.Open(lock[0]))(t)
	ok(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))

	results := map[*host.Container]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range containers {
		wg.Go(func() {
			err := call(c)
			mu.Lock()
			defer mu.Unlock()
			results[c] = err
		})
	}
	ok(t, host.Await(func() error {
		if n := len(waiting(t)); n != len(containers) {
			return fmt.Errorf("%d calls wait", n)
		}
		return nil
	}))
	meanwhile()
	ok(t, f.Close())
	wg.Wait()
	if left := waiting(t); left != nil {
		t.Errorf("left of calls that waited: %q", left)
	}
	return results
}

// waiting returns the files of calls that wait, and have said what for.
func waiting(t *testing.T) []string {
	t.Helper()
	var whole []string
	for _, path := range must(filepath.Glob(dataDir + "/*/waiting,*"))(t) {
		if content, _ := os.ReadFile(path); strings.HasSuffix(string(content), "}") {
			whole = append(whole, path)
		}
	}
	return whole
}

// waitingOf returns the file of the call that waits for a container.
func waitingOf(t *testing.T, c *host.Container) string {
	t.Helper()
	for _, path := range waiting(t) {
		if content, _ := os.ReadFile(path); strings.Contains(string(content), `"`+c.Name+`"`) {
			return path
		}
	}
	t.Fatalf("no call waits for %s", c.Name)
	return ""
}

// holder returns the process that has a file open.
func holder(t *testing.T, path string) int {
	t.Helper()
	for _, fd := range must(filepath.Glob("/proc/[0-9]*/fd/*"))(t) {
		if target, _ := os.Readlink(fd); target == path {
			return must(strconv.Atoi(strings.Split(fd, "/")[2]))(t)
		}
	}
	t.Fatalf("nobody has %s open", path)
	return 0
}
