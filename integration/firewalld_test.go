// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// ruled is a world on a host that firewalld filters.
type ruled struct {
	*world
	h   *host.Host
	f   *host.Firewalld
	nat string // the port forwards of portmap, before the plugin ran

	letsIn bool // to what it trusts, from everywhere, as versions before 1.0 do
}

// onFirewalld runs a test on a host run by firewalld, with each of its backends,
// and with the plugin choosing its own. Every way was open before the plugin ran,
// and before firewalld closed what it does not trust.
func onFirewalld(t *testing.T, places []place, body func(t *testing.T, r *ruled)) {
	t.Helper()
	for _, backend := range host.FirewalldBackends {
		t.Run(backend, func(t *testing.T) {
			host.Test(t, func(t *testing.T, h *host.Host) { body(t, newRuled(t, h, backend, places...)) })
		})
	}
}

// newRuled makes the world on a host run by firewalld.
func newRuled(t *testing.T, h *host.Host, backend string, places ...place) *ruled {
	t.Helper()
	ok(t, h.UseVariant("nft"))
	must(h.Bus())(t)
	r := &ruled{h: h}
	r.f = must(h.Firewalld(backend, "public"))(t)
	r.letsIn = strings.HasPrefix(must(r.f.Version())(t), "0.")
	r.world = newWorld(t, h, places...)
	forwardFirst(t, h)
	r.checkAllTrusted(t)
	// With iptables it rejects with "port unreachable" (core/ipXtables.py).
	r.rejects = backend == "iptables"
	shell(t, h, `iptables -t nat -A PREROUTING -p tcp --dport 9999 -m comment --comment "another program" -j DNAT --to-destination 10.1.0.2:80`)
	r.nat = r.forwards(t)
	return r
}

// forwardFirst has portmap's rules stand ahead of firewalld's. 2.5 with iptables ends every
// zone's way through nat with an ACCEPT, and none behind it is reached, whoever the plugin is.
func forwardFirst(t *testing.T, h *host.Host) {
	t.Helper()
	shell(t, h, `for i in iptables ip6tables; do
		jumps=$($i-save -t nat | sed -n '/^-A [A-Z]* .*-j CNI-HOSTPORT-[DM][A-Z]*$/{h;s/^-A/-D/p;g;s/^-A/-I/p}')
		printf '*nat\n%s\nCOMMIT\n' "$jumps" | $i-restore --noflush
	done`)
}

// checkAllTrusted is checkAllOpen where firewalld trusts all interfaces for the moment.
// Another default zone for the moment would not do: 2.3 with iptables flushes the port
// forwards of portmap when it is changed.
func (r *ruled) checkAllTrusted(t *testing.T) {
	t.Helper()
	interfaces := []string{host.Uplink}
	for _, e := range r.networks {
		interfaces = append(interfaces, e.network.Bridge)
	}
	ok(t, r.f.Bind("trusted", interfaces...))
	r.checkAllOpen(t)
	ok(t, r.f.Unbind("trusted", interfaces...))
}

// forwards returns the port forwards of other programs: not firewalld's own chains.
func (r *ruled) forwards(t *testing.T) string {
	t.Helper()
	all := must(r.h.Run("iptables", "-t", "nat", "-S"))(t) + must(r.h.Run("ip6tables", "-t", "nat", "-S"))(t)
	rules := linesWith(all, "CNI-", "DNAT")
	if len(rules) < 20 || linesWith(all, "another program") == nil {
		t.Fatalf("there are no port forwards in\n%s", all)
	}
	return strings.Join(rules, "\n")
}

// check ends the test unless every way is as promised on a host run by firewalld:
// from outside it lets in published ports alone.
func (r *ruled) check(t *testing.T, when string) {
	t.Helper()
	r.compare(t, when, r.promised)
}

func (r *ruled) promised(p probe) host.Verdict {
	if p.from == theOutside && !p.target.isStrict() {
		return openIf(p.path == published || r.letsIn)
	}
	return expected(p, usual)
}

func TestFirewalldVerdicts(t *testing.T) {
	t.Parallel()
	onFirewalld(t, everyPlace, func(t *testing.T, r *ruled) {
		must(r.f.Cmd("--zone=work", "--add-source=192.0.2.0/24"))(t)
		zones := must(r.f.Zones())(t)
		r.protect(t, r.h)
		r.check(t, "with the plugin")
		r.checkExplained(t, "with the plugin", r.promised)
		r.call(t, r.h.Firewall, "CHECK")
		must(r.h.Run(r.h.Firewall, "restore"))(t)
		same(t, r.nat, r.forwards(t), "port forwards, after ADD and restore")
		for _, e := range r.networks {
			for _, c := range []*host.Container{e.peer, e.server} {
				must(c.Call(r.h.Firewall, "DEL"))(t)
			}
		}
		same(t, r.nat, r.forwards(t), "port forwards, after DEL")
		same(t, zones, must(r.f.Zones())(t), "zones, after the last DEL")
		if left := must(r.h.Table())(t); left != "" {
			t.Errorf("after the last DEL:\n%s", left)
		}
		if left := records(t, dataDir); left != nil {
			t.Errorf("records left: %q", left)
		}
	})
}

// forwards are rules of nat tables that firewalld flushes, and their owner would
// bring back.
type forwards struct {
	h     *host.Host
	saved map[string]string // by program
}

func saveForwards(t *testing.T, h *host.Host) forwards {
	t.Helper()
	f := forwards{h, map[string]string{}}
	for _, program := range []string{"iptables", "ip6tables"} {
		f.saved[program] = must(h.Run(program+"-save", "-t", "nat"))(t)
	}
	return f
}

func (f forwards) restore(t *testing.T) {
	t.Helper()
	for program, rules := range f.saved {
		must(f.h.Feed(rules, program+"-restore"))(t)
	}
}

// losses are the ways in which firewalld forgets.
var losses = map[string]func(t *testing.T, f *host.Firewalld){
	"reload":          func(t *testing.T, f *host.Firewalld) { must(f.Cmd("--reload"))(t) },
	"complete reload": func(t *testing.T, f *host.Firewalld) { must(f.Cmd("--complete-reload"))(t) },
	"restart": func(t *testing.T, f *host.Firewalld) {
		ok(t, f.Stop())
		ok(t, f.Start())
	},
	"kill": func(t *testing.T, f *host.Firewalld) {
		ok(t, f.Kill())
		ok(t, host.Await(f.Gone))
		ok(t, f.Start())
	},
}

// TestFirewalldForgets has firewalld lose all sources, in every way, while packets
// are on their way between isolated bridges.
func TestFirewalldForgets(t *testing.T) {
	t.Parallel()
	onFirewalld(t, everyPlace, func(t *testing.T, r *ruled) {
		r.protect(t, r.h)
		forwards := saveForwards(t, r.h)
		all := append(currents(across, r.networks[0], r.networks[2]), currents(across, r.networks[1], r.networks[3])...)
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		flowing := make(chan []host.Stream)
		go func() { flowing <- flow(ctx, t, all) }()
		for name, lose := range losses {
			lose(t, r.f)
			if message := complaint(t, r.networks[0].server, r.h.Firewall); !strings.Contains(message, "lacks source") {
				t.Errorf("CHECK after %s: %s", name, message)
			}
			must(r.h.Run(r.h.Firewall, "restore"))(t)
			r.call(t, r.h.Firewall, "CHECK")
			forwards.restore(t) // portmap's, which firewalld flushes
			r.check(t, "restored after "+name)
		}
		w := startWatcher(t, r.h)
		for name, lose := range losses {
			soon(t, r.h, 2*time.Second, name, func() { lose(t, r.f) }, check(r.h, r.networks[0].server), check(r.h, r.networks[5].peer))
			forwards.restore(t)
			r.check(t, "watched after "+name)
		}
		w.end(t)
		stop()
		judge(t, all, <-flowing)

		// One ADD after the table is gone, too, isolates all bridges.
		isolated := isolationOf(state(t, r.h))
		shell(t, r.h, "nft delete table inet cni_firewall")
		losses["reload"](t, r.f)
		must(r.networks[0].server.Call(r.h.Firewall, "ADD"))(t)
		same(t, isolated, isolationOf(state(t, r.h)), "isolation after a reload and one ADD")
	})
}

// soon has something lost, waits until no try has an error, and says how long that took.
// The limit is what the watcher promises on a machine that has nothing else to do, see
// onBusy. A machine is busy for a moment, a slow watcher slow every time: the last of
// three losses counts.
func soon(t *testing.T, h *host.Host, limit time.Duration, what string, lose func(), tries ...func() error) {
	t.Helper()
	var took, most time.Duration
	for range 3 {
		lose()
		start := time.Now()
		for _, try := range tries {
			ok(t, host.Await(try))
		}
		took, most = time.Since(start), onBusy(t, h, limit)
		t.Logf("after %s: %s, at most %s", what, took, most)
		if took <= most {
			return
		}
	}
	t.Errorf("%s after %s, and not %s", what, took, most)
}

// onBusy returns how long something may take that has a limit on an idle machine: as much
// longer as a restore, which is most of the watcher's work, takes at the moment.
func onBusy(t *testing.T, h *host.Host, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	must(h.Run(h.Firewall, "restore"))(t)
	return limit + 20*time.Since(start)
}

// watcher is "cni-firewall watch" as it runs.
type watcher struct {
	cmd *exec.Cmd
	log string // path
}

// startWatcher starts it, and waits until it listens, or has said that there is no bus.
func startWatcher(t *testing.T, h *host.Host) watcher {
	t.Helper()
	w := watcher{exec.Command(h.Firewall, "watch"), filepath.Join(t.TempDir(), "log")}
	log := must(os.Create(w.log))(t)
	w.cmd.Stderr = log
	ok(t, w.cmd.Start())
	ok(t, log.Close())
	ok(t, host.Await(func() error {
		said := w.said(t)
		if !strings.Contains(said, "bus") && !strings.Contains(said, "watching for firewalld") {
			return errors.New("the watcher says nothing of firewalld")
		}
		if !strings.Contains(said, "watching nftables") || !strings.Contains(said, "watching interfaces") {
			return errors.New("the watcher does not listen to the kernel")
		}
		return nil
	}))
	return w
}

func (w watcher) said(t *testing.T) string {
	t.Helper()
	return string(must(os.ReadFile(w.log))(t))
}

// end ends it as systemd does, and returns what it logged.
func (w watcher) end(t *testing.T) string {
	t.Helper()
	ok(t, w.cmd.Process.Signal(syscall.SIGTERM))
	ok(t, w.cmd.Wait())
	t.Logf("the watcher's log:\n%s", w.said(t))
	return w.said(t)
}

// TestWatcher has firewalld and the bus go away and come back.
func TestWatcher(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant("nft"))
		w := startWatcher(t, h) // ahead of the bus
		bus := must(h.Bus())(t)
		f := must(h.Firewalld("nftables", "public"))(t)
		c := plain(t, h, host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall()), "container")
		must(c.Call(h.Firewall, "ADD"))(t)
		soon(t, h, 2*time.Second, "three reloads", func() {
			for range 3 {
				must(f.Cmd("--reload"))(t)
			}
		}, check(h, c))
		soon(t, h, 3*time.Second, "the end of the bus", func() {
			bus.Kill()
			ok(t, f.Wait())
			bus = must(h.Bus())(t)
			ok(t, f.Start())
		}, check(h, c))
		log := w.end(t)
		for _, line := range []string{"there is no bus", "watching for firewalld", "firewalld reloaded: restored 1 attachment on 1 bridge", "connection to the bus is lost"} {
			if !strings.Contains(log, line) {
				t.Errorf("the log has no %q", line)
			}
		}
	})
}

// TestFirewalldRefuses asks firewalld for what it has not.
func TestFirewalldRefuses(t *testing.T) {
	host.Test(t, func(t *testing.T, h *host.Host) {
		ok(t, h.UseVariant("nft"))
		must(h.Bus())(t)
		f := must(h.Firewalld("nftables", "public"))(t)
		n := host.Dual("net", "br1", 1, place{"same-bridge", "allow"}.firewall())
		c := plain(t, h, n, "container")
		n.Backend = host.FirewalldZones
		before := state(t, h)
		refused := func(code uint, says string) {
			t.Helper()
			stdout, err := c.Call(h.Firewall, "ADD")
			if err == nil {
				t.Fatalf("ADD succeeds, and should say %s", says)
			}
			if e := errorObject(t, stdout); e.Code != code || !strings.Contains(e.Msg, says) {
				t.Errorf("%d: %s, and not %d: %s", e.Code, e.Msg, code, says)
			}
			if left := records(t, dataDir); left != nil {
				t.Errorf("%s: records left: %q", says, left)
			}
		}
		n.Firewall["firewalldZone"] = "nosuch"
		refused(7, "firewalldZone must be one of block, dmz, drop, external, home, internal, public, trusted, work")
		delete(n.Firewall, "firewalldZone")
		same(t, before, state(t, h), "an unknown zone")

		must(f.Cmd("--zone=work", "--add-source="+c.IPv6+"/128"))(t)
		bound := state(t, h)
		refused(999, `zone "work" has it`)
		same(t, bound, state(t, h), "an address in another zone")
		must(c.Call(h.Firewall, "DEL"))(t)
		same(t, bound, state(t, h), "DEL of an address in another zone")
		must(f.Cmd("--zone=work", "--remove-source="+c.IPv6+"/128"))(t)

		// Another zone takes effect, and a moved source is seen.
		must(c.Call(h.Firewall, "ADD"))(t)
		n.Firewall["firewalldZone"] = "work"
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
		if lines := linesWith(state(t, h), "zone trusted"); lines != nil {
			t.Errorf("still in the former zone: %q", lines)
		}
		must(f.Cmd("--zone=home", "--change-source="+c.IPv4+"/32"))(t)
		if message := complaint(t, c, h.Firewall); !strings.Contains(message, `which is in zone "home"`) {
			t.Errorf("CHECK: %s", message)
		}
		must(f.Cmd("--zone=work", "--change-source="+c.IPv4+"/32"))(t)
		must(c.Call(h.Firewall, "DEL"))(t)
		same(t, before, state(t, h), "DEL")

		// One that hangs opens nothing; what it was told meanwhile is taken back.
		must(c.Call(h.Firewall, "ADD"))(t)
		added := state(t, h)
		ok(t, f.Freeze())
		for _, verb := range []string{"ADD", "DEL", "CHECK"} {
			stdout, err := c.Call(h.Firewall, verb)
			if err == nil || errorObject(t, stdout).Code != 11 {
				t.Errorf("%s with firewalld hanging: %v", verb, err)
			}
		}
		ok(t, f.Thaw())
		same(t, added, state(t, h), "after firewalld hung")
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)

		ok(t, f.Stop())
		must(c.Call(h.Firewall, "DEL"))(t)
		refused(999, "firewalld is not running")
		n.Backend = "" // the plugin chooses, and finds iptables
		must(c.Call(h.Firewall, "ADD"))(t)
		chose(t, h, false)
		ok(t, f.Start())
		must(c.Call(h.Firewall, "ADD"))(t)
		must(c.Call(h.Firewall, "CHECK"))(t)
		must(c.Call(h.Firewall, "DEL"))(t)
		if lines := linesWith(state(t, h), "br1", c.IPv4, c.IPv6); lines != nil {
			t.Errorf("left: %q", lines)
		}
	})
}
