// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{7}, Summary{7, 7, 7, 1}},
		{[]float64{4, 1, 3, 2}, Summary{2.5, 1.75, 3.25, 4}},
		{[]float64{1000, 1, 2, 3, 4}, Summary{3, 2, 4, 5}}, // one that was disturbed
	} {
		if diff := cmp.Diff(c.want, summarize(c.values)); diff != "" {
			t.Errorf("%v: %s", c.values, diff)
		}
	}
}

// TestContainers is about what would make two containers one, or no container at
// all.
func TestContainers(t *testing.T) {
	for _, n := range []network{{bridges, true}, {bridges, false}, {500, true}} {
		seen := map[string]int{}
		for i := range 1000 + bridges {
			c := container{n, i}
			for _, text := range append(c.addresses(), c.id(), c.port()) {
				if other, is := seen[text]; is {
					t.Fatalf("%d and %d both have %s", other, i, text)
				}
				seen[text] = i
			}
			for _, text := range c.addresses() {
				if _, err := netip.ParsePrefix(text); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for args, message := range map[string]string{
		"":                                  "",
		"-parts packets -rounds 3 -o json":  "",
		"-containers 1000,0,100 -at-once 1": "",
		"-backends pf":                      `"pf" is unknown: it must be of iptables-nft`,
		"-families ipv4,ipv6":               `"ipv6" is unknown`,
		"-containers 50":                    "50 is neither 0 nor at least 100",
		"-containers many":                  `"many" is no number`,
		"-at-once 0":                        "0 is not from 1 to 100",
		"-rounds 0":                         "0 is too few",
		"-o xml":                            `"xml" is unknown`,
		"-firewalld-up-to 50":               "50 are too few",
		"-parts packets -plot x.svg":        "it is the calls that are drawn",
		"-nerdctl -plot x.svg":              "it is the calls that are drawn",
		"-others none,docker,ufw,5000,connection": "",
		"-others nftables":                        `"nftables" is unknown`,
		"-firewalls nftables,tracking":            `"tracking" is unknown`,
	} {
		_, err := parseOptions(strings.Fields(args))
		if message == "" && err != nil || message != "" && (err == nil || !strings.Contains(err.Error(), message)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestLeftOut is that nothing is left out quietly.
func TestLeftOut(t *testing.T) {
	for args, want := range map[string]string{
		"": "-nerdctl; -families ipv4; -others docker, ufw, 5000, connection; -containers 300; more than 100 containers with firewalld (-firewalld-up-to); " +
			"packets through iptables-legacy and firewalld, and over IPv6",
		"-parts calls -families dual,ipv4 -others none,docker,ufw,5000,connection -containers 0,100,300,1000 -firewalld-up-to 1000": "-parts packets; -nerdctl",
		"-backends nftables -others none,docker,ufw,5000,connection -at-once 1 -parts calls": "-parts packets; -nerdctl; -backends iptables-nft, iptables-legacy, firewalld; " +
			"-families ipv4; -at-once 16; -containers 300",
		"-parts packets -firewalls nftables": "-parts calls; -nerdctl; -firewalls upstream, iptables-nft, iptables-nft-strict, nftables-strict, nftables-unguarded; " +
			"packets through iptables-legacy and firewalld, and over IPv6",
		"-nerdctl -at-once 1": "-parts calls, packets; -families ipv4; -others docker, ufw, 5000, connection; -at-once 20",
	} {
		o, err := parseOptions(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, strings.Join(o.leftOut(), "; ")); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

// plain is the setting that targets are for.
var plain = Setting{"dual-stack", othersNone}

// sample is a report with something of everything.
func sample() Report {
	wall := func(ms float64) Cost { return Cost{Wall: Summary{ms, ms, ms, 9}, Peak: 5000} }
	var r Report
	for _, containers := range []int{100, 1000} {
		for _, verb := range verbs {
			r.Calls = append(r.Calls, CallRow{
				Backend: "iptables-nft", Setting: plain, Verb: verb, Containers: containers, AtOnce: 1,
				Upstream: wall(100), Ours: wall(float64(containers) / 10), Faster: 1000 / float64(containers),
			})
		}
	}
	for i := range r.Calls {
		r.Calls[i].Target = targetOf(r.Calls[i])
	}
	r.Calls[len(r.Calls)-1].Ours.Failures = []string{"told to fail"}
	r.Growth = growth(r.Calls)
	r.Floor = []FloorRow{{"nft", plain, 0, "iptables-nft", floorList, Summary{1, 1, 1, 9}}}
	r.Packets = []PacketRow{{"nftables", 1000, throughput, "Gbit/s", Summary{9, 9, 9, 9}, Summary{0.96, 0.9, 1, 9}, Summary{1, 1, 1, 9}, Summary{}, Summary{}, Summary{}, packetTarget}}
	strict := r.Packets[0]
	strict.Firewall, strict.OfUsual, strict.Target = "nftables-strict", Summary{0.98, 0.97, 0.99, 9}, 0
	strict.CPU, strict.CPUOfUsual = Summary{23, 22, 24, 9}, Summary{1.02, 1.01, 1.03, 9}
	r.Packets = append(r.Packets, strict)
	cost := NerdctlCost{Wall: Summary{400, 400, 400, 9}, Plugin: Summary{20, 20, 20, 9}, PluginCPU: Summary{10, 10, 10, 9}, Share: Summary{0.05, 0.05, 0.05, 9}}
	r.Nerdctl = &NerdctlReport{
		Rows:    []NerdctlRow{{"nftables", Setting{"IPv4", othersUFW}, nerdctlRun, 20, cost, cost, Summary{1, 0.9, 1.1, 9}}},
		StandIn: Summary{1.5, 1, 2, 9},
	}
	r.LeftOut = []string{"-families ipv4"}
	return r
}

func TestGrowthOfADD(t *testing.T) {
	want := []GrowthRow{
		{"upstream", "iptables-nft", plain, 100, 1000, 1, 0},
		{"ours", "iptables-nft", plain, 100, 1000, 10, 2},
	}
	if diff := cmp.Diff(want, sample().Growth); diff != "" {
		t.Error(diff)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	if err := sample().print(&b); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"iptables-nft, dual-stack",
		"100 1 ADD 100.0 0 % 10.0 0 % 10.0 0.0–0.0 8 met 0.0 0.0 5000 5000",
		"1000 1 CHECK 100.0 0 % 100.0 0 % 1.0 0.0–0.0 6 MISSED",
		"ours: 1 of DEL, 1 at once with 1000 containers, failed, the first one with: told to fail",
		"iptables-nft dual-stack ours 100 1000 10.00 at most 2 MISSED",
		"iptables-nft nft dual-stack 0 iptables -S 1.00 0 %",
		"nftables 9.00 0 % 0.960 0.900–1.000 1.000 at least 0.97 MISSED",
		"nftables-strict 9.00 0 % 0.960 0.900–1.000 1.000 0.980 0.970–0.990 23.0 4 % 1.020 1.010–1.030",
		"ahead of which a stand-in takes 1.5 ms",
		"nftables IPv4, beside ufw 20 run 400 0 % 400 0 % 1.00 0.90–1.10 20.0 20.0 10.0 10.0 5.0 % 5.0 %",
		"Left out: -families ipv4.",
	} {
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, words) {
			t.Errorf("%q is not in:\n%s", words, b.String())
		}
	}
}

func TestDraw(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plot.svg", "plot.png"} {
		if err := sample().draw(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "plot.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"ADD, dual-stack", "DEL, dual-stack", "upstream, iptables-nft"} {
		if !strings.Contains(string(text), words) {
			t.Errorf("the plot does not say %q", words)
		}
	}
	if err := sample().draw(filepath.Join(dir, "plot.gif")); err == nil {
		t.Error("a .gif can be drawn")
	}
}

// TestUsual is that a firewall is compared with itself, and with no other.
func TestUsual(t *testing.T) {
	got := map[string]string{}
	var sides []*remote
	for _, s := range packetSides(allFirewalls) {
		sides = append(sides, &remote{Side: s})
	}
	for _, s := range sides {
		if u := usual(sides, s.Side); u >= 0 {
			got[s.Name] = sides[u].Name
		}
	}
	want := map[string]string{"iptables-nft-strict": "iptables-nft", "nftables-strict": "nftables", "nftables-unguarded": "nftables"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPluginCalls is that a command whose calls failed, or were not seen, is no fast one.
func TestPluginCalls(t *testing.T) {
	const ms = int64(time.Millisecond)
	add, del := fmt.Sprintf("ADD %d %d 0\n", 20*ms, 10*ms), fmt.Sprintf("DEL %d %d 0\n", 3*ms, 2*ms)
	for _, c := range []struct {
		of             NerdctlOf
		calls, message string
	}{
		{NerdctlOf{nerdctlRun, 2}, "none 1 1 0\n" + del + add + del + add, ""},
		{NerdctlOf{nerdctlRm, 1}, del, ""},
		{NerdctlOf{nerdctlRun, 2}, add + del, "called the plugin for 1 ADD"},
		{NerdctlOf{nerdctlRm, 1}, "", "called the plugin for 0 DEL"},
		{NerdctlOf{nerdctlRm, 1}, "DEL 1 1 7\n", "exit status 7"},
		{NerdctlOf{nerdctlRm, 1}, "DEL 1\n", "reading"},
	} {
		var o NerdctlOutcome
		err := o.add(c.of, c.calls)
		if c.message == "" && err != nil || c.message != "" && (err == nil || !strings.Contains(err.Error(), c.message)) {
			t.Errorf("%v, %q: %v", c.of, c.calls, err)
		}
	}
	o := outcomes{NerdctlOf{nerdctlRun, 2}, []NerdctlOutcome{{Wall: 500e6}}}
	if err := o.all[0].add(o.of, add+del+add+del); err != nil {
		t.Fatal(err)
	}
	one := func(value float64) Summary { return Summary{value, value, value, 1} }
	want := NerdctlCost{Wall: one(500), Plugin: one(23), PluginCPU: one(12), Share: one(0.092)}
	if diff := cmp.Diff(want, o.cost(), cmpopts.EquateApprox(0, 0.001)); diff != "" {
		t.Error(diff)
	}
}

// TestBlocklist is that every rule is of another address.
func TestBlocklist(t *testing.T) {
	seen := map[string]bool{}
	for line := range strings.Lines(blocklist("198.18.%d.%d/32", 5000)) {
		if words := strings.Fields(line); len(words) == 6 {
			if _, err := netip.ParsePrefix(words[3]); err != nil {
				t.Fatal(err)
			}
			seen[words[3]] = true
		}
	}
	if len(seen) != 5000 {
		t.Errorf("%d addresses", len(seen))
	}
}

// TestProgram is that a measured program gets its input, whatever the size, and
// that its failure is one.
func TestProgram(t *testing.T) {
	const much = 1 << 20 // more than a pipe holds
	cat := program{path: "/bin/cat", stdin: []byte(strings.Repeat("x", much))}
	took, output, err := cat.start(nil)
	if err != nil || len(output) != much || took.Wall <= 0 {
		t.Errorf("%v, %d bytes: %v", took, len(output), err)
	}
	failing := program{path: "/bin/sh", args: []string{"-c", "echo told to fail >&2; exit 3"}}
	if _, err := failing.run(); err == nil || !strings.Contains(err.Error(), "exit status 3: told to fail") {
		t.Errorf("%v", err)
	}
	if _, err := (program{path: "/nowhere"}).run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestOrder is that chains may be declared in any order, and rules not.
func TestOrder(t *testing.T) {
	const rules = "-P FORWARD ACCEPT\n-N A\n-N B\n-A A -j B\n-A B -j DROP\n"
	if a, b := inOrder(rules), inOrder("-P FORWARD ACCEPT\n-N B\n-N A\n-A A -j B\n-A B -j DROP\n"); a != b {
		t.Error(cmp.Diff(a, b))
	}
	if inOrder(rules) == inOrder("-P FORWARD ACCEPT\n-N A\n-N B\n-A B -j DROP\n-A A -j B\n") {
		t.Error("rules in another order look the same")
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	const log = `7 100.000000 execve("/opt/cni/bin/firewall", ["…"], 0x7ffc /* 8 vars */) = 0 <0.000300>
8 100.002000 close(5</proc/7/cgroup>) = 0 <0.000010>
9 100.003000 execve("/usr/sbin/iptables", ["…"], 0x7ffc /* 8 vars */ <unfinished ...>
9 100.003200 <... execve resumed>) = 0 <0.000200>
9 100.004000 sendto(3<NETLINK:[NETFILTER:9]>, ..., 48, 0, {…}, 12 <unfinished ...>
8 100.004500 flock(4</run/lock>, LOCK_EX) = 0 <0.002000>
9 100.006000 <... sendto resumed>) = 48 <0.001500>
9 100.006100 close(3<NETLINK:[NETFILTER:9]>) = 0 <0.009000>
9 100.015200 exit_group(0) = ?
9 100.015300 +++ exited with 0 +++
8 100.016000 exit_group(0) = ?
8 100.016100 +++ exited with 0 +++
7 100.019000 +++ exited with 0 +++
`
	want := []Wait{
		{"firewall", "", 19}, {"iptables", "", 12.1},
		{"iptables", "close(3<NETLINK:[NETFILTER:9]>)", 9},
		{"firewall", "exit, which closes all files", 3},
		{"firewall", "flock(4</run/lock>, …)", 2},
	}
	if diff := cmp.Diff(want, waits(log), cmpopts.EquateApprox(0, 0.001)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := waits("strace: attach: Operation not permitted\n"); got != nil {
		t.Errorf("got %v", got)
	}
}
