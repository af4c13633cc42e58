// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// watch repeats a question, which must never have an error for an answer, until
// it is told to stop. It rests twice as long as a question takes: other hosts
// want the processors too, and on a busy machine what it watches is as slow.
func watch(t *testing.T, question func() error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	asked := 0
	go func() {
		for ; ctx.Err() == nil || asked == 0; asked++ {
			start := time.Now()
			if err := question(); err != nil {
				done <- fmt.Errorf("question %d: %w", asked, err)
				return
			}
			time.Sleep(2 * time.Since(start))
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		cancel()
		ok(t, <-done)
		t.Logf("asked %d times", asked)
	}
}

// check is the question whether a container has all its rules.
func check(h *host.Host, c *host.Container) func() error {
	return func() error {
		_, err := c.Call(h.Firewall, "CHECK")
		return err
	}
}

// victim is the container whose calls are killed, and what its host is without
// it and with it.
type victim struct {
	*host.Container
	h             *host.Host
	network       *host.Network
	stays         []*host.Container // others of its network
	before, after string
	kept          []string // records of the others
	cases         int
}

// ending is what may come after a call that was killed.
type ending struct {
	name string
	end  func(t *testing.T, v *victim)
}

// endings each leave nothing of the container behind.
var endings = []ending{
	{"DEL", func(t *testing.T, v *victim) { must(v.Call(v.h.Firewall, "DEL"))(t) }},
	{"DEL without prevResult", func(t *testing.T, v *victim) {
		must(host.Call(v.h.Firewall, "DEL", v.network.Conf(nil), v.Name, ""))(t)
	}},
	{"GC", func(t *testing.T, v *victim) { must(gc(v.h, v.network, v.stays...))(t) }},
	{"restore and DEL", func(t *testing.T, v *victim) {
		recorded := len(records(t, dataDir)) > len(v.kept)
		must(v.h.Run(v.h.Firewall, "restore"))(t)
		if recorded {
			must(v.Call(v.h.Firewall, "CHECK"))(t)
		}
		must(v.Call(v.h.Firewall, "DEL"))(t)
	}},
}

// newVictim attaches a container beside some others.
func newVictim(t *testing.T, h *host.Host, shared bool) (*victim, *world) {
	t.Helper()
	w := newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "deny"})
	w.checkAllOpen(t)
	w.protect(t, h)
	v := &victim{h: h, network: host.Dual("own", "br9", 9, place{"isolated", "allow"}.firewall())}
	if shared {
		v.network = w.networks[0].network
		v.stays = []*host.Container{w.networks[0].server, w.networks[0].peer}
	}
	v.Container = plain(t, h, v.network, "victim")
	v.before, v.kept = state(t, h), records(t, dataDir)
	must(v.Call(h.Firewall, "ADD"))(t)
	v.after = state(t, h)
	must(v.Call(h.Firewall, "DEL"))(t)
	same(t, v.before, state(t, h), "DEL of a call that nobody killed")
	return v, w
}

// ended wants nothing left of the victim, and nothing lost of the others.
func (v *victim) ended(t *testing.T, how string) {
	t.Helper()
	same(t, v.before, state(t, v.h), how)
	if left := records(t, dataDir); len(left) != len(v.kept) {
		t.Fatalf("%s: records %q, and not %q", how, left, v.kept)
	}
}

// killings are the moments at which a program that the plugin starts ends it:
// before its work, when its work is done, and so that the program, which goes on
// without it, does its work only when the next call might have begun. In $script
// is what the program reads, and in $pid an orphan leaves its number.
var killings = map[string]string{
	"before":    `kill -KILL $PPID; exit 1`,
	"after":     `printf '%s\n' "$script" | "$real" "$@" >/dev/null; kill -KILL $PPID; exit 1`,
	"orphaning": `echo $$ >"$pid"; kill -KILL $PPID; sleep 0.5; printf '%s\n' "$script" | exec "$real" "$@"`,
}

// killer returns a directory, for PATH, in which one program ends the plugin. The others
// have no names of a variant: the plugin would not start the restore program for what it
// deletes.
func killer(t *testing.T, program, moment string) string {
	t.Helper()
	dir := string(newShims(t, fault{}))
	path := filepath.Join(dir, program)
	real := must(exec.LookPath(program))(t)
	script := fmt.Sprintf("PATH=%s real=%s pid=%s script=$(cat)\n%s\n", os.Getenv("PATH"), real, filepath.Join(dir, "pid"), killings[moment])
	ok(t, host.WriteScript(path, script))
	return dir
}

// TestKilledAtEveryStep has ADD and DEL killed by the programs that they start.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"on a bridge of its own": false, "on a bridge with others": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachVariant(t, func(t *testing.T, h *host.Host) {
				v, w := newVictim(t, h, shared)
				stop := []func(){watch(t, check(h, w.networks[0].peer)), watch(t, check(h, w.networks[1].server))}
				for _, verb := range []string{"ADD", "DEL"} {
					for _, program := range programs {
						v.killAt(t, verb, program, "before")
						v.killAt(t, verb, program, "after")
					}
				}
				for _, s := range stop {
					s()
				}
				w.check(t, usual, "after all")
			})
		})
	}
}

// TestOrphanedWork has ADD and DEL killed, and the program that they started go
// on: what it writes comes when the next call has begun, and may have ended.
func TestOrphanedWork(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		v, w := newVictim(t, h, false)
		stop := watch(t, check(h, w.networks[0].peer))
		for _, verb := range []string{"ADD", "DEL"} {
			for _, program := range []string{"iptables-restore", "ip6tables-restore"} {
				v.killAt(t, verb, program, "orphaning")
			}
		}
		stop()
	})
}

func (v *victim) killAt(t *testing.T, verb, program, moment string) {
	t.Helper()
	for i, ending := range endings {
		if v.cases++; v.stays != nil && i != v.cases/len(endings)%len(endings) {
			continue // on a bridge with others one ending a time, in turn
		}
		how := fmt.Sprintf("%s killed by %s, %s its work, then %s", verb, program, moment, ending.name)
		if verb == "DEL" {
			must(v.Call(v.h.Firewall, "ADD"))(t)
		}
		path := killer(t, program, moment)
		if stdout, err := v.Call(v.h.Firewall, verb, "PATH="+path); err == nil || stdout != "" {
			t.Fatalf("%s was not killed by %s: %v: %s", verb, program, err, stdout)
		}
		recordOf(t, dataDir, v.Container) // is what the ending goes by
		keeps(t, v.before, state(t, v.h), how)
		ending.end(t, v)
		if moment == "orphaning" {
			orphan := strings.TrimSpace(string(must(os.ReadFile(filepath.Join(path, "pid")))(t)))
			ok(t, host.Await(func() error { return ended(orphan) }))
		}
		v.ended(t, how)
	}
}

// ended returns an error as long as a process runs. One that ended and that nobody
// waited for has no command line any more.
func ended(pid string) error {
	if command, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(command) > 0 {
		return fmt.Errorf("process %s still runs: %q", pid, command)
	}
	return nil
}

// TestKilledAtAnyMoment kills ADD and DEL at a moment that nobody chose.
func TestKilledAtAnyMoment(t *testing.T) {
	const rounds = 40
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		v, w := newVictim(t, h, false)
		stop := []func(){watch(t, check(h, w.networks[0].peer)), watch(t, check(h, w.networks[1].server))}
		killed := map[string]int{}
		// How long a call takes depends on what else the machine does.
		last := map[string]time.Duration{"ADD": 30 * time.Millisecond, "DEL": 30 * time.Millisecond}
		for i := range rounds {
			verb, ending := []string{"ADD", "DEL"}[i%2], endings[i/2%len(endings)]
			delay := rand.N(last[verb])
			if verb == "DEL" {
				must(v.Call(h.Firewall, "ADD"))(t)
			}
			if v.killAfter(t, verb, delay) {
				killed[verb]++
				last[verb] += last[verb] / 8
			} else {
				last[verb] = delay
			}
			keeps(t, v.before, state(t, h), verb+" killed")
			ending.end(t, v)
			v.ended(t, fmt.Sprintf("%s killed after %s, then %s", verb, delay, ending.name))
		}
		for _, s := range stop {
			s()
		}
		if killed["ADD"] < rounds/4 || killed["DEL"] < rounds/4 {
			t.Errorf("of %d calls, too few were killed: %v", rounds, killed)
		}
		w.check(t, usual, "after all")
	})
}

// killAfter starts a call and kills it, and reports whether it was still there.
func (v *victim) killAfter(t *testing.T, verb string, delay time.Duration) bool {
	t.Helper()
	cmd := host.Command(v.h.Firewall, verb, v.Conf(), v.Name, v.NetNS)
	ok(t, cmd.Start())
	time.Sleep(delay)
	ok(t, cmd.Process.Kill())
	var exit *exec.ExitError
	err := cmd.Wait()
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err != nil
}
