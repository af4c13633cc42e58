// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// flush is what somebody else does to rules.
type flush struct {
	script string

	opens    bool     // packets between isolated bridges pass until the rules are back
	backends []string // for which it takes rules away; all of them if there are none
}

// flushes are those that a watcher undoes.
var flushes = map[string]flush{
	"nft flush ruleset": {script: "nft flush ruleset", opens: true},
	"restart of nftables.service": {
		script: "printf 'flush ruleset\\ntable inet filter { chain forward { type filter hook forward priority 0; }; }\\n' | nft -f -",
		opens:  true,
	},
	"the table is deleted":   {script: "nft delete table $t", opens: true},
	"the table for frames":   {script: "nft delete table bridge cni_firewall"},
	"the table is flushed":   {script: "nft flush table $t", opens: true},
	"the table is dormant":   {script: "nft add table $t '{ flags dormant; }'", opens: true},
	"a chain is flushed":     {script: "nft flush chain $t isolation", opens: true},
	"a rule is deleted":      {script: "unrule isolation 'iifname @isolated_bridges jump isolation_stage_1'", opens: true},
	"a rule is ahead":        {script: "nft insert rule $t isolation accept", opens: true},
	"an element is deleted":  {script: `nft delete element $t isolated_bridges '{ "blue0" }'`, opens: true},
	"the jump to the admin":  {script: "unrule forward 'jump CNI-ADMIN'", backends: []string{"nftables"}},
	"iptables -F":            {script: "iptables -F; ip6tables -F", backends: []string{"iptables-nft", "iptables-legacy"}},
	"iptables -F, -X":        {script: "for i in iptables ip6tables; do $i -F; $i -X; done", backends: []string{"iptables-nft", "iptables-legacy"}},
	"a rule of iptables":     {script: "iptables -D CNI-FORWARD 2", backends: []string{"iptables-nft", "iptables-legacy"}},
	"iptables-restore of ''": {script: "echo '*filter\nCOMMIT' | iptables-restore", backends: []string{"iptables-nft", "iptables-legacy"}},
}

// TestWatcherOfKernel takes rules away under a watcher, in every way and while packets
// are on their way, and wants them back.
func TestWatcherOfKernel(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		p := newFlushed(t, h)
		w := startWatcher(t, h)
		for name, f := range flushes {
			if len(f.backends) == 0 || slices.Contains(f.backends, h.Backend.Name) {
				p.heal(t, w, name, f)
			}
		}
		before := w.restores(t)
		shell(t, h, "nft add table ip other; nft delete table ip other; iptables -t nat -A OUTPUT -j RETURN; iptables -t nat -F OUTPUT")
		time.Sleep(time.Second)
		if got := w.restores(t) - before; got > 0 {
			t.Errorf("%d restores after changes of other tables", got)
		}
		p.want(t, host.Blocked, "in the end")
		w.end(t)
	})
}

// flushed is a host with containers on two isolated bridges.
type flushed struct {
	h                *host.Host
	attacker, victim *host.Container
	golden           string
}

func newFlushed(t *testing.T, h *host.Host) flushed {
	t.Helper()
	ok(t, h.Sysctl("net/ipv4/ip_forward=1"))
	ok(t, h.Sysctl("net/ipv6/conf/all/forwarding=1"))
	p := flushed{h: h}
	p.attacker = plain(t, h, host.Dual("red", "red0", 1, place{"same-bridge", "allow"}.firewall()), "attacker")
	p.victim = plain(t, h, host.Dual("blue", "blue0", 2, place{"isolated", "allow"}.firewall()), "victim")
	ok(t, p.victim.Serve(containerPort))
	p.want(t, host.Open, "without the plugin")
	for _, c := range []*host.Container{p.attacker, p.victim} {
		must(c.Call(h.Firewall, "ADD"))(t)
	}
	p.want(t, host.Blocked, "with the plugin")
	p.golden = canonical(state(t, h))
	return p
}

func (p flushed) want(t *testing.T, want host.Verdict, when string) {
	t.Helper()
	for _, address := range []string{p.victim.IPv4, p.victim.IPv6} {
		if got := must(p.attacker.Send(p.victim, address, containerPort, host.Patience))(t); got != want {
			t.Errorf("%s: %s is %s, and not %s", when, address, got, want)
		}
	}
}

// heal takes rules away, and wants one restore in time, see soon, and then peace.
func (p flushed) heal(t *testing.T, w watcher, name string, f flush) {
	t.Helper()
	var took, most time.Duration
	for range 3 {
		took, most = p.flush(t, w, name, f), onBusy(t, p.h, 2*time.Second)
		if took <= most {
			return
		}
	}
	t.Errorf("%s: restored in %s, and not in %s", name, took, most)
}

// flush takes rules away, and returns how long the watcher needed to restore them.
func (p flushed) flush(t *testing.T, w watcher, name string, f flush) time.Duration {
	t.Helper()
	before, arrived := w.restores(t), 0
	finish := stream(t, p.attacker, p.victim, &arrived)
	shell(t, p.h, spoilTable(p.h)+f.script)
	start := time.Now()
	ok(t, host.Await(func() error {
		if w.restores(t) == before {
			return fmt.Errorf("%s: there is no restore", name)
		}
		return nil
	}))
	took := time.Since(start)
	time.Sleep(300 * time.Millisecond)
	finish()
	restores := w.restores(t) - before
	t.Logf("%s: restored in %s, %d of the datagrams between passed, %d restores", name, took, arrived, restores)
	if restores > 2 {
		t.Errorf("%s: %d restores", name, restores)
	}
	if !f.opens && arrived > 0 {
		t.Errorf("%s: %d datagrams arrived", name, arrived)
	}
	same(t, p.golden, canonical(state(t, p.h)), name)
	return took
}

// spoilTable returns what a script can call to spoil the table, which has it with some
// backends already.
func spoilTable(h *host.Host) string {
	if h.Backend.HasTable() {
		return ""
	}
	return nftSpoil
}

// restores returns how often the watcher has restored: each time it writes a line.
func (w watcher) restores(t *testing.T) int {
	t.Helper()
	return strings.Count(w.said(t), "\n")
}

// TestWatcherOfCalls has containers come and go under a watcher, which leaves them alone.
func TestWatcherOfCalls(t *testing.T) {
	t.Parallel()
	const calls = 50
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		p := newFlushed(t, h)
		w := startWatcher(t, h)
		before := w.restores(t)
		start := time.Now()
		for range calls {
			must(p.victim.Call(h.Firewall, "DEL"))(t)
			must(p.victim.Call(h.Firewall, "ADD"))(t)
		}
		took := time.Since(start)
		time.Sleep(time.Second)
		restores := w.restores(t) - before
		same(t, p.golden, canonical(state(t, h)), "in the end")
		w.end(t)
		cost := w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
		t.Logf("%d ADDs and DELs in %s: %d restores, and %s of a processor for the watcher", calls, took, restores, cost)
		if restores > calls/10 {
			t.Errorf("%d restores", restores)
		}
	})
}

// TestWatcherOverrun has more changes happen than the kernel keeps for a watcher that is
// held up. Those that it never learns of count, too.
func TestWatcherOverrun(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		p := newFlushed(t, h)
		w := startWatcher(t, h)
		before := w.restores(t)
		ok(t, w.cmd.Process.Signal(syscall.SIGSTOP))
		shell(t, h, `
			nft 'add table ip other; add chain ip other many'
			seq 40000 | sed 's/.*/add rule ip other many counter accept/' | nft -f -
			nft delete table $t`)
		p.want(t, host.Open, "while the watcher is held up")
		ok(t, w.cmd.Process.Signal(syscall.SIGCONT))
		ok(t, host.Await(func() error {
			if w.restores(t) == before {
				return errors.New("there is no restore")
			}
			return nil
		}))
		same(t, p.golden, canonical(state(t, h)), "after the overrun")
		p.want(t, host.Blocked, "after the overrun")
		if log := w.end(t); !strings.Contains(log, "another program changed the table") {
			t.Error("nothing was lost")
		}
	})
}
