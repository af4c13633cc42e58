// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestParallel adds 20 containers to two bridges at once, and deletes them at
// once, while somebody else changes rules too.
func TestParallel(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		networks := []*host.Network{
			host.Dual("net1", "br1", 1, place{"isolated", "allow"}.firewall()),
			host.Dual("net2", "br2", 2, place{"same-bridge", "deny"}.firewall()),
		}
		var containers []*host.Container
		for i := range 20 {
			containers = append(containers, plain(t, h, networks[i%2], fmt.Sprintf("container%d", i)))
		}
		for _, n := range networks {
			n.Plain = false
		}
		quiet := somebodyElse(t, h)
		atOnce(t, containers, func(c *host.Container) error {
			_, err := c.Call(h.Firewall, "ADD")
			return err
		})
		quiet()
		added := state(t, h)
		for _, c := range containers {
			must(c.Call(h.Firewall, "CHECK"))(t)
		}
		if lines := twice(added); lines != nil {
			t.Errorf("more than once:\n%s", strings.Join(lines, "\n"))
		}

		quiet = somebodyElse(t, h)
		atOnce(t, containers, (*host.Container).Del)
		quiet()
		left := state(t, h)
		for _, c := range containers {
			if lines := linesWith(left, c.IPv4+"/", c.IPv6+"/"); lines != nil {
				t.Errorf("leaked:\n%s", strings.Join(lines, "\n"))
			}
		}
		// The last DELs of a bridge must not leave the isolation to each other, each
		// for the other's port, which the bridge plugin takes away only later.
		same(t, before, remaining(t, h, left), "after the last DEL")
	})
}

// somebodyElse inserts and deletes rules of its own until told to be quiet.
func somebodyElse(t *testing.T, h *host.Host) (quiet func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		for ctx.Err() == nil {
			for _, script := range foreignWrites(h) {
				words := strings.Fields(script)
				if _, err := h.Run(words[0], words[1:]...); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	return func() {
		cancel()
		ok(t, <-done)
	}
}

// foreignWrites are commands that leave all as it was.
func foreignWrites(h *host.Host) []string {
	if h.Backend.HasTable() {
		return []string{
			"nft add table inet somebody",
			"nft add chain inet somebody forward { type filter hook forward priority 5 ; }",
			"nft add rule inet somebody forward iifname wlan0 drop",
			"nft delete table inet somebody",
		}
	}
	var all []string
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, op := range []string{"-I", "-D"} {
			all = append(all, program+" --wait "+op+" FORWARD -i wlan0 -j DROP")
		}
	}
	return all
}

// TestOvertaken has somebody else write between the plugin's reading of the table
// and its writing, so that the transaction fails: it must be planned anew.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) {
		c := plain(t, h, host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall()), "container")
		const others = "CNI-ISOLATION-STAGE-1 -i wlan0 -j DROP"
		for _, program := range []string{"iptables-restore", "ip6tables-restore"} {
			before := operators(h, state(t, h))
			overtake := func(verb, script string) {
				t.Helper()
				s := newShims(t, fault{program, 1, 1, "overtaken"})
				must(c.Call(h.Firewall, verb, "PATH="+string(s), "OVERTAKE="+script))(t)
				if n := s.count(t)[program]; n != 2 {
					t.Errorf("%s overtaken: %s started %d times", verb, program, n)
				}
			}
			overtake("ADD", "$list --wait -N CNI-ISOLATION-STAGE-2")
			must(c.Call(h.Firewall, "CHECK"))(t)
			overtake("DEL", "$list --wait -A "+others)
			list := strings.TrimSuffix(program, "-restore")
			shell(t, h, list+" -D "+others) // still there, and with it the chain
			must(c.Call(h.Firewall, "ADD"))(t)
			must(c.Call(h.Firewall, "DEL"))(t)
			same(t, before, operators(h, state(t, h)), "after the last DEL")
		}
	})
}

// TestOvertakenAtOnce has somebody else write after a DEL has listed the rules: their places
// are others by then, and nothing goes but what must.
func TestOvertakenAtOnce(t *testing.T) {
	onVariant(t, "nft", func(t *testing.T, h *host.Host) {
		c := plain(t, h, host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall()), "container")
		for _, program := range []string{"iptables", "ip6tables"} {
			must(c.Call(h.Firewall, "ADD"))(t)
			must(c.Call(h.Firewall, "DEL"))(t)
			want := operators(h, state(t, h))
			must(c.Call(h.Firewall, "ADD"))(t)
			shell(t, h, program+" -I CNI-FORWARD -i wlan0 -j DROP")
			s := newShims(t, fault{program, 1, 1, "work, then overtaken"}).named(t)
			overtake := "$list -D CNI-FORWARD -i wlan0 -j DROP; $list -A CNI-FORWARD -i wlan0 -j DROP"
			must(c.Call(h.Firewall, "DEL", "PATH="+string(s), "OVERTAKE="+overtake))(t)
			if n := s.count(t)[program+"-restore"]; n != 1 {
				t.Errorf("%s-restore started %d times", program, n)
			}
			shell(t, h, program+" -D CNI-FORWARD -i wlan0 -j DROP") // it is still there
			same(t, want, operators(h, state(t, h)), "a DEL that was overtaken")
		}
	})
}

// atOnce does something with all containers at the same time.
func atOnce(t *testing.T, containers []*host.Container, do func(*host.Container) error) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range containers {
		wg.Go(func() {
			if err := do(c); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		})
	}
	wg.Wait()
}

// twice returns the rules that a family has more than once.
func twice(state string) []string {
	var found []string
	for _, family := range strings.Split(state, "# ") {
		seen := map[string]bool{}
		for line := range strings.Lines(family) {
			if seen[line] {
				found = append(found, line)
			}
			seen[line] = true
		}
	}
	return found
}

// TestLinksComeAndGo calls the plugin while interfaces come and go, as they do
// with the containers of others: the kernel then tells that a list of ports may
// be wrong, and it is asked for again.
func TestLinksComeAndGo(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		unfiltered.setUp(t, h)
		n := host.Dual("net", "br0", 1, place{"isolated", "allow"}.firewall())
		c := plain(t, h, n, "container")
		shell(t, h, `for i in $(seq 60); do
			ip link add port$i type veth peer name end$i; ip link set port$i master br0 up; done`)
		for i := range 2 {
			stop := watch(t, func() error {
				_, err := h.Run("sh", "-ec", fmt.Sprintf(`for n in $(seq 30); do
					ip link add busy%d type veth peer name idle%[1]d; ip link del busy%[1]d; done`, i))
				return err
			})
			defer stop()
		}
		for range 100 {
			must(c.Call(h.Firewall, "ADD"))(t)
			must(c.Call(h.Firewall, "CHECK"))(t)
			must(c.Call(h.Firewall, "DEL"))(t)
		}
	})
}
