// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestVariantSwitch has the host's alternative for iptables switched while containers run.
// The rules of the former variant go once the current one has them, and nothing of either
// is left in the end.
func TestVariantSwitch(t *testing.T) {
	t.Parallel()
	other := map[string]string{"nft": "legacy", "legacy": "nft"}
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		from := os.Getenv("PATH")
		formerly := func() string { return listing(t, other[other[variantOf(from)]]) }
		s := &switched{h: h, w: newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"}), former: formerly}
		s.w.checkAllOpen(t)
		s.w.protect(t, h)
		before := s.former()
		s.w.check(t, usual, "ahead of the switch")

		ok(t, h.UseVariant(other[variantOf(from)]))
		s.w.check(t, usual, "after the switch")
		one, two := s.w.networks[0], s.w.networks[1]

		// A DEL takes its own from both, and leaves the rest where it is.
		must(one.peer.Call(h.Firewall, "DEL"))(t)
		s.lacks(t, "DEL of the peer", one.peer.IPv4+"/32", one.peer.IPv6+"/128")
		if !strings.Contains(s.former(), one.server.IPv4+"/32") {
			t.Errorf("DEL of the peer removes others' rules:\n%s", s.former())
		}
		must(one.peer.Call(h.Firewall, "ADD"))(t)

		// The ADD isolated all bridges in the current variant; the accepts of the others stay.
		s.lacks(t, "ADD of the peer", "-o br1", "-i br1", "-o br2", "-i br2", "CNI-PUBLISHED", "CNI-ISOLATION")
		if !strings.Contains(s.former(), two.server.IPv4+"/32") {
			t.Errorf("ADD of the peer removes accepts that are not in force:\n%s", s.former())
		}
		s.w.check(t, usual, "after one ADD")
		v := look(t, h.Firewall)
		contains(t, "status", strings.Join(v.Warnings, "\n"), []string{"switched to another variant", "cni-firewall restore"})
		must(one.peer.Call(h.Firewall, "CHECK"))(t)
		s.w.protect(t, h)
		s.gone(t, "all ADDs")
		s.w.call(t, h.Firewall, "CHECK")
		if v := look(t, h.Firewall); !v.InForce || v.Warnings != nil {
			t.Errorf("status: %+v", v)
		}
		s.w.check(t, usual, "after all ADDs")

		// Back again, with restore, and with the DELs alone.
		ok(t, os.Setenv("PATH", from))
		s.former = func() string { return listing(t, other[variantOf(from)]) }
		must(h.Run(h.Firewall, "restore"))(t)
		s.gone(t, "restore")
		s.w.call(t, h.Firewall, "CHECK")
		s.w.check(t, usual, "after restore")
		ok(t, h.UseVariant(other[variantOf(from)]))
		s.former = formerly
		s.w.remove(t, h)
		s.gone(t, "the last DEL")
		if left := linesWith(must(h.Rules())(t), "br1", "br2", "10.1.0.", "10.2.0."); left != nil {
			t.Errorf("left in the current variant: %q", left)
		}
		if before == "" {
			t.Error("there was nothing in the former variant")
		}
	})
}

type switched struct {
	h      *host.Host
	w      *world
	former func() string // the filter tables of the former variant
}

func (s *switched) lacks(t *testing.T, when string, words ...string) {
	t.Helper()
	if left := linesWith(s.former(), words...); left != nil {
		t.Errorf("%s leaves in the former variant\n%s", when, strings.Join(left, "\n"))
	}
}

func (s *switched) gone(t *testing.T, when string) {
	t.Helper()
	s.lacks(t, when, "CNI-")
}

// variantOf returns the variant of the first iptables in a PATH.
func variantOf(path string) string {
	dir, _, _ := strings.Cut(path, ":")
	return filepath.Base(dir)
}

// listing returns the filter tables of a variant.
func listing(t *testing.T, variant string) string {
	t.Helper()
	var text string
	for _, name := range []string{"iptables", "ip6tables"} {
		out, err := exec.Command(name+"-"+variant, "-S").Output()
		ok(t, err)
		text += string(out)
	}
	return text
}

// TestVariantSwitchOperators keeps what the operator has in the former variant, and what
// upstream's plugin has there.
func TestVariantSwitchOperators(t *testing.T) {
	t.Parallel()
	other := map[string]string{"nft": "legacy", "legacy": "nft"}
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		former := variantOf(os.Getenv("PATH"))
		network := func(n int) *host.Network {
			return host.Dual(fmt.Sprintf("net%d", n), fmt.Sprintf("br%d", n), n, place{"same-bridge", "deny"}.firewall())
		}
		ours, upstreams := plain(t, h, network(1), "ours"), plain(t, h, network(2), "upstreams")
		must(upstreams.Call(h.Upstream(), "ADD"))(t)
		upstreamsOwn := listing(t, former)
		must(ours.Call(h.Firewall, "ADD"))(t)
		shell(t, h, "iptables -A CNI-ADMIN -s 192.0.2.1 -j DROP")

		ok(t, h.UseVariant(other[former]))
		must(ours.Call(h.Firewall, "ADD"))(t)
		left := listing(t, former)
		if !strings.Contains(left, "-A CNI-ADMIN -s 192.0.2.1/32 -j DROP") || !strings.Contains(left, "-j CNI-ADMIN") {
			t.Errorf("the operator's rule is not in force:\n%s", left)
		}
		for _, line := range linesWith(upstreamsOwn, "br2", upstreams.IPv4, upstreams.IPv6) {
			if !strings.Contains(left, line+"\n") {
				t.Errorf("upstream's rule is gone: %s", line)
			}
		}
		for _, call := range []func() error{
			func() error { return nil }, // the ADD
			func() error { _, err := h.Run(h.Firewall, "restore"); return err },
			func() error { _, err := h.Run(h.Firewall, "retire"); return err },
		} {
			ok(t, call())
			if lines := linesWith(listing(t, former), "br1", ours.IPv4, ours.IPv6); lines != nil {
				t.Errorf("left: %q", lines)
			}
			if !strings.Contains(listing(t, other[former]), ours.IPv4) {
				t.Error("the current variant has nothing")
			}
			former = other[former]
			ok(t, h.UseVariant(other[former]))
		}
	})
}

// TestVariantUnused starts no program of a variant that holds nothing of the plugin's,
// whatever else it holds.
func TestVariantUnused(t *testing.T) {
	t.Parallel()
	other := map[string]string{"nft": "legacy", "legacy": "nft"}
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		unused := other[variantOf(os.Getenv("PATH"))]
		for _, name := range []string{"iptables", "ip6tables"} {
			must(h.Run(name+"-"+unused, "-A", "FORWARD", "-m", "comment", "--comment", "CNI-FORWARD is not here", "-j", "ACCEPT"))(t)
		}
		c := plain(t, h, host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall()), "container")
		log := filepath.Join(t.TempDir(), "log")
		for _, verb := range []string{"ADD", "ADD", "CHECK", "DEL", "DEL"} {
			plugin := filepath.Join(t.TempDir(), "firewall")
			ok(t, host.WriteScript(plugin, fmt.Sprintf("exec strace -f -qq -e trace=execve -o '%s' '%s'\n", log, h.Firewall)))
			must(c.Call(plugin, verb))(t)
			if trace := string(must(os.ReadFile(log))(t)); strings.Contains(trace, "tables-"+unused) {
				t.Errorf("%s starts programs of the other variant:\n%s", verb, trace)
			}
		}
	})
}
