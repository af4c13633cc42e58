// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestMany adds 1,000 containers on 500 bridges, of which only the bridges are
// real: what a packet meets is as with one container.
func TestMany(t *testing.T) {
	const bridges, containers = 500, 1000
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		before := state(t, h)
		shell(t, h, fmt.Sprintf("ip netns add many; seq %d | sed 's/.*/link add br& type bridge/' | ip -batch -", bridges))
		call := func(verb string, from, to int) {
			t.Helper()
			start := time.Now()
			crowd(t, from, to, func(i int) error {
				_, err := host.Call(h.Firewall, verb, member(i, 1+i%bridges), fmt.Sprintf("container%d", i), "/run/netns/many")
				return err
			})
			t.Logf("%s of %d: %s", verb, to-from, time.Since(start))
		}
		call("ADD", 0, 1)
		few := rulesOf(state(t, h))
		call("ADD", 1, containers)
		many := state(t, h)
		same(t, few, rulesOf(many), "the rules of 1,000 containers")
		for _, set := range []string{"containers_ipv4", "containers_ipv6"} {
			wantElements(t, many, set, containers)
		}
		for _, set := range []string{"isolated_bridges", "same_bridge", "blocked_within", "published_ports"} {
			wantElements(t, many, set, bridges)
		}
		must(host.Call(h.Firewall, "CHECK", member(7, 8), "container7", "/run/netns/many"))(t)
		if v := look(t, h.Firewall); !v.InForce {
			t.Error(v.Problem)
		}
		call("DEL", 0, containers)
		same(t, before, state(t, h), "after the last DEL")
	})
}

// member is what the plugin reads for a made-up container.
func member(i, bridge int) string {
	n := host.Network{
		Name: fmt.Sprintf("net%d", bridge), Backend: host.NFTables,
		Firewall: place{"isolated", "allow"}.firewall(),
	}
	result := fmt.Sprintf(`{"cniVersion":"1.0.0","interfaces":[{"name":"br%d"},{"name":"eth0","sandbox":"/run/netns/many"}],
		"ips":[{"address":"10.7.%d.%d/16","interface":1},{"address":"fd00:7::%x/64","interface":1}]}`, bridge, i/250, 1+i%250, 1+i)
	return n.Conf(map[string]any{"prevResult": json.RawMessage(result)})
}

// crowd does something with each of a row of numbers, eight at a time.
func crowd(t *testing.T, from, to int, do func(i int) error) {
	t.Helper()
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	for i := from; i < to; i++ {
		numbers <- i
	}
	close(numbers)
	wg.Wait()
}

// rulesOf returns a state without the elements of sets.
func rulesOf(text string) string {
	var all strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, ": element ") && !strings.HasPrefix(line, "chain forged_source: fib ") {
			all.WriteString(line)
		}
	}
	return all.String()
}

func wantElements(t *testing.T, text, set string, want int) {
	t.Helper()
	if got := strings.Count(text, "set "+set+": element "); got != want {
		t.Errorf("%s has %d elements, and not %d", set, got, want)
	}
}
