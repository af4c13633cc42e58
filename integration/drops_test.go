// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// dropCount is a count of "cni-firewall drops".
type dropCount struct {
	From, To          dropSide
	Reason, CountedBy string
	Packets, Bytes    uint64
	Last              *time.Time
}

type dropSide struct {
	Networks             []string
	Container, Interface string
}

func (c dropCount) key() string {
	return fmt.Sprintf("%s > %s, %s, by %s", c.From.Interface, c.To.Interface, c.Reason, c.CountedBy)
}

// countsOf returns what was dropped, by key.
func countsOf(t *testing.T, h *host.Host) map[string]dropCount {
	t.Helper()
	var report struct {
		Drops    []dropCount
		Problems []told
	}
	o := finish(t, exec.Command(h.Firewall, "drops", "-o", "json"))
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil || o.err != nil || len(report.Problems) > 0 || o.stderr != "" {
		t.Fatalf("drops: %v, %v: %s%s", o.err, err, o.stdout, o.stderr)
	}
	counts := map[string]dropCount{}
	for _, c := range report.Drops {
		if _, twice := counts[c.key()]; twice || c.Packets == 0 || c.Bytes < 20*c.Packets {
			t.Errorf("drops has %+v", c)
		}
		counts[c.key()] = c
	}
	return counts
}

// dropping is a way on which the isolation drops packets.
type dropping struct {
	name, key string
	from, to  dropSide // whose they are
	arrives   func() host.Verdict
	send      func(number int) error
}

// drops ends the test unless as many packets as are sent are counted. A host has something
// to say of its own from time to time, such as that it listens to a multicast group; then a
// count is more than was sent, and is taken again.
func (d dropping) drops(t *testing.T, h *host.Host, number int) {
	t.Helper()
	if got := d.arrives(); got != host.Blocked {
		t.Fatalf("%s: %s", d.name, got)
	}
	for range 5 {
		before := countsOf(t, h)[d.key]
		ok(t, d.send(number))
		got := countsOf(t, h)[d.key]
		for end := time.Now().Add(10 * host.Patience); got.Packets < before.Packets+uint64(number) && time.Now().Before(end); {
			got = countsOf(t, h)[d.key]
		}
		if got.Packets < before.Packets+uint64(number) {
			t.Fatalf("%s: %d of %d packets are counted, by %v", d.name, got.Packets-before.Packets, number, slices.Sorted(maps.Keys(countsOf(t, h))))
		}
		if got.Packets > before.Packets+uint64(number) {
			continue
		}
		d.isTold(t, got)
		return
	}
	t.Errorf("%s: more packets are counted than were sent", d.name)
}

// isTold compares what a count says besides numbers.
func (d dropping) isTold(t *testing.T, got dropCount) {
	t.Helper()
	if diff := gocmp.Diff([]dropSide{d.from, d.to}, []dropSide{got.From, got.To}); diff != "" {
		t.Errorf("%s (-want +got):\n%s", d.name, diff)
	}
	switch knowsTime := got.CountedBy == "nftables"; {
	case !knowsTime && got.Last != nil:
		t.Errorf("%s: last at %v", d.name, got.Last)
	case knowsTime && (got.Last == nil || time.Since(*got.Last).Abs() > time.Minute):
		t.Errorf("%s: last at %v, and it is %v", d.name, got.Last, time.Now())
	}
}

// droppers are networks of every policy, and the ways between them that are closed.
type droppers struct {
	*world

	h                                  *host.Host
	sameBridge, isolated, strict, open *end
}

func newDroppers(t *testing.T, h *host.Host) *droppers {
	t.Helper()
	if h.Backend.Key == host.FirewalldZones {
		// Else firewalld itself drops what comes where no route to its source leads.
		shell(t, h, "echo IPv6_rpfilter=no >>/etc/firewalld/firewalld.conf; firewall-cmd --reload")
	}
	w := newWorld(t, h, place{"same-bridge", "allow"}, place{"isolated", "allow"}, place{"strict", "allow"}, place{"open", "allow"})
	d := &droppers{w, h, w.networks[0], w.networks[1], w.networks[2], w.networks[3]}
	for _, setting := range []string{
		"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/br4/rp_filter=0", "net/ipv4/conf/uplink0/rp_filter=0",
	} {
		ok(t, h.Sysctl(setting))
	}
	// A container asks for its neighbour's address before it sends, and asks again: in IPv6 by
	// packets that are dropped, too.
	for _, c := range []*host.Container{d.isolated.server, d.isolated.peer} {
		other := d.isolated.peer
		if c == other {
			other = d.isolated.server
		}
		hardware := must(other.Hardware("eth0"))(t).String()
		for _, address := range []string{other.IPv4, other.IPv6} {
			must(h.Run("nsenter", "--net="+c.NetNS, "ip", "neighbour", "replace", address, "dev", "eth0", "lladdr", hardware, "nud", "permanent"))(t)
		}
	}
	ok(t, w.outside.Serve(containerPort))
	return d
}

// netOf returns what is known of a network's bridge.
func netOf(e *end) dropSide {
	return dropSide{Networks: []string{e.network.Name}, Interface: e.network.Bridge}
}

// datagrams is a way on which a container sends datagrams to a server.
func (d *droppers) datagrams(name string, from, to *host.Container, address string, source, target dropSide) dropping {
	return dropping{
		name: name, key: fmt.Sprintf("%s > %s, isolation, by nftables", source.Interface, target.Interface), from: source, to: target,
		arrives: func() host.Verdict {
			verdict, err := from.Send(to, address, containerPort, host.Patience)
			if err != nil {
				return host.Verdict(err.Error())
			}
			return verdict
		},
		send: func(number int) error { return from.Burst(number, address, containerPort) },
	}
}

// plain are the ways of packets that tell the truth, in one family.
func (d *droppers) plain(family string) []dropping {
	to := func(e *end) (*host.Container, string) { return e.server, addressOf(e.server, family) }
	way := func(name string, from *host.Container, source dropSide, e *end) dropping {
		server, address := to(e)
		return d.datagrams(family+", "+name, from, server, address, source, netOf(e))
	}
	return []dropping{
		way("between two bridges", d.sameBridge.peer, netOf(d.sameBridge), d.isolated),
		way("within a bridge", d.isolated.peer, netOf(d.isolated), d.isolated),
		way("from an open bridge to a strict one", d.open.peer, netOf(d.open), d.strict),
		way("from outside to a strict bridge", d.outside, dropSide{Interface: host.Uplink}, d.strict),
	}
}

// forged are the ways of packets with another's source, and of odd frames.
func (d *droppers) forged(t *testing.T, family string) []dropping {
	t.Helper()
	outside := at(addressOf(d.outside, family), containerPort)
	byHost := func(from *host.Container, bridge, source string) func(text string) error {
		return func(text string) error {
			packet, protocol := host.Datagram(at(source, 1234), outside, text)
			return from.Raw(host.Frame{To: must(must(d.h.Self())(t).Hardware(bridge))(t), Protocol: protocol, Payload: packet})
		}
	}
	tagged := func(text string) error {
		packet, protocol := host.Datagram(at(addressOf(d.isolated.peer, family), 1234), at(addressOf(d.isolated.server, family), containerPort), text)
		return d.isolated.peer.Raw(host.Frame{
			To: must(d.isolated.server.Hardware("eth0"))(t), Tagged: true, Protocol: protocol, Payload: packet,
		})
	}
	port := dropSide{Networks: []string{d.isolated.network.Name}, Container: d.isolated.peer.Name, Interface: d.portOf(t, d.isolated.peer)}
	way := func(name, reason string, from, to dropSide, arrivesAt *host.Container, send func(string) error) dropping {
		return dropping{
			name: family + ", " + name, key: fmt.Sprintf("%s > %s, %s, by nftables", from.Interface, to.Interface, reason), from: from, to: to,
			arrives: func() host.Verdict {
				verdict, err := arrivesAt.Arrives(host.Patience, send)
				if err != nil {
					return host.Verdict(err.Error())
				}
				return verdict
			},
			send: func(number int) (err error) {
				for n := 0; n < number && err == nil; n++ {
					err = send("one of a burst")
				}
				return err
			},
		}
	}
	return []dropping{
		way("another bridge's source", "forged source", netOf(d.open), dropSide{}, d.outside,
			byHost(d.open.peer, d.open.network.Bridge, addressOf(d.sameBridge.server, family))),
		way("the neighbour's source", "forged source", port, dropSide{}, d.outside,
			byHost(d.isolated.peer, d.isolated.network.Bridge, addressOf(d.isolated.server, family))),
		way("a tagged frame", "frame", port, dropSide{}, d.isolated.server, tagged),
	}
}

// portOf returns the host end of a container's eth0.
func (d *droppers) portOf(t *testing.T, c *host.Container) string {
	t.Helper()
	type link struct {
		Name  string `json:"ifname"`
		Index int    `json:"ifindex"`
		Peer  int    `json:"link_index"`
	}
	links := func(prefix ...string) (all []link) {
		words := slices.Concat(prefix, []string{"ip", "-json", "link"})
		ok(t, json.Unmarshal([]byte(must(d.h.Run(words[0], words[1:]...))(t)), &all))
		return all
	}
	own := links("nsenter", "--net="+c.NetNS)
	for _, l := range links() {
		if slices.ContainsFunc(own, func(o link) bool { return o.Name == "eth0" && o.Peer == l.Index }) {
			return l.Name
		}
	}
	t.Fatalf("%s has no port", c.Name)
	return ""
}

func (d *droppers) all(t *testing.T) []dropping {
	t.Helper()
	var all []dropping
	for _, family := range []string{"IPv4", "IPv6"} {
		all = append(append(all, d.plain(family)...), d.forged(t, family)...)
	}
	return all
}

// passes sends what the plugin lets through, and wants none of it counted.
func (d *droppers) passes(t *testing.T) {
	t.Helper()
	before := countsOf(t, d.h)
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, way := range []struct {
			from, to *host.Container
			address  string
			port     int
		}{
			{d.sameBridge.peer, d.sameBridge.server, addressOf(d.sameBridge.server, family), containerPort},
			{d.sameBridge.peer, d.open.server, addressOf(d.open.server, family), containerPort},
			{d.sameBridge.peer, d.outside, addressOf(d.outside, family), containerPort},
			{d.open.peer, d.strict.server, map[string]string{"IPv4": host.HostIPv4, "IPv6": host.HostIPv6}[family], d.strict.hostPort},
		} {
			if got, err := way.from.Send(way.to, way.address, way.port, 10*host.Patience); got != host.Open {
				t.Errorf("from %s to %s: %s, %v", way.from.Name, way.address, got, err)
			}
		}
	}
	d.unchanged(t, before, "what passes")
}

// unchanged compares counts, but for those of what an isolated bridge's containers say to
// all.
func (d *droppers) unchanged(t *testing.T, before map[string]dropCount, when string) {
	t.Helper()
	numbers := func(counts map[string]dropCount) map[string]uint64 {
		all := map[string]uint64{}
		for key, c := range counts {
			if c.From.Interface != d.isolated.network.Bridge || c.To.Interface != c.From.Interface {
				all[key] = c.Packets
			}
		}
		return all
	}
	if diff := gocmp.Diff(numbers(before), numbers(countsOf(t, d.h))); diff != "" {
		t.Errorf("%s (-before +after):\n%s", when, diff)
	}
}

// allOpen returns all ways, which must be open without the plugin.
func (d *droppers) allOpen(t *testing.T) []dropping {
	t.Helper()
	ways := d.all(t)
	for _, way := range ways {
		if got := way.arrives(); got != host.Open {
			t.Errorf("without the plugin: %s: %s", way.name, got)
		}
	}
	return ways
}

// TestDrops sends packets that each kind of isolation drops, and has as many counted, with
// every backend, until the table goes.
func TestDrops(t *testing.T) {
	t.Parallel()
	onEachBackend(t, func(t *testing.T, h *host.Host) {
		d := newDroppers(t, h)
		ways := d.allOpen(t)
		d.protect(t, h)
		for i, way := range ways {
			way.drops(t, h, 3+i)
		}
		d.passes(t)

		counts := countsOf(t, h)
		must(h.Run(h.Firewall, "restore"))(t)
		d.unchanged(t, counts, "restored")
		young := must(h.Add(d.sameBridge.network, "young", nil))(t)
		must(young.Call(h.Firewall, "CHECK"))(t)
		d.call(t, h.Firewall, "CHECK")
		ok(t, young.Del())
		d.unchanged(t, counts, "another container was added and deleted")
		healthy(t, h, "after drops")
		d.remove(t, h)
		if table := must(h.Table())(t); table != "" {
			t.Errorf("after the last DEL:\n%s", table)
		}
		if left := countsOf(t, h); len(left) > 0 {
			t.Errorf("after the last DEL: %v", left)
		}
	})
}

// TestDropsFull has no room left for what the kernel counts: the isolation drops all the
// same, and goes on counting what it counted.
func TestDropsFull(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		d := newDroppers(t, h)
		d.protect(t, h)
		ways := d.plain("IPv4")
		ways[0].drops(t, h, 3)
		var fill strings.Builder
		for n := range 1<<14 - len(countsOf(t, h)) {
			fmt.Fprintf(&fill, "add element inet cni_firewall dropped { \"from%d\" . \"to%d\" }\n", n, n)
		}
		must(h.Feed(fill.String(), "nft", "-f", "-"))(t)
		strict := ways[2]
		if got := strict.arrives(); got != host.Blocked {
			t.Errorf("%s, in a set that is full: %s", strict.name, got)
		}
		ways[0].drops(t, h, 5)
		must(h.Run("nft", "flush", "set", "inet", "cni_firewall", "dropped"))(t)
		strict.drops(t, h, 4)
		d.call(t, h.Firewall, "CHECK")
	})
}

// uncounted is what a version that did not count makes of the tables.
const uncounted = `
	set -e
	nft list table inet cni_firewall >new; nft list table bridge cni_firewall >>new
	awk '
		/^\t(set|chain) (dropped|frames_(dropped|forged|drop)|drop_)/ { skip = 1 }
		!skip { gsub(/jump (drop_counted|drop_forged|frames_drop_forged|frames_drop)/, "drop"); print }
		/^\t}/ { skip = 0 }
	' new >old
	(echo 'delete table inet cni_firewall; delete table bridge cni_firewall'; cat old) | nft -f -
	if nft list ruleset | grep dropped; then exit 1; fi`

// TestDropsUpgrade has a host with the tables of a version that did not count. The next ADD
// of any container makes them count, and at no moment lets anything through.
func TestDropsUpgrade(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		d := newDroppers(t, h)
		ways := d.allOpen(t)
		d.protect(t, h)
		for range 5 {
			shell(t, h, "cd "+t.TempDir()+uncounted)
			if counts := countsOf(t, h); len(counts) > 0 {
				t.Fatalf("the old table counts: %v", counts)
			}
			arrived := 0
			finish := stream(t, d.sameBridge.peer, d.isolated.server, &arrived)
			finishStrict := stream(t, d.open.peer, d.strict.server, &arrived)
			must(d.open.server.Call(h.Firewall, "ADD"))(t)
			finish()
			finishStrict()
			if arrived > 0 {
				t.Fatalf("%d datagrams arrived", arrived)
			}
			d.call(t, h.Firewall, "CHECK")
		}
		for _, way := range ways {
			way.drops(t, h, 3)
		}
	})
}

// TestDropsAlone has iptables isolate alone, which counts by its rules: most name one of two
// interfaces.
func TestDropsAlone(t *testing.T) {
	onVariant(t, "legacy", func(t *testing.T, h *host.Host) {
		d := newDroppers(t, h)
		withoutNFTables(t, h)
		d.protect(t, h)
		for family, program := range map[string]string{"IPv4": "iptables", "IPv6": "ip6tables"} {
			for i, way := range d.plain(family) {
				if way.from.Interface != way.to.Interface {
					way.from = dropSide{}
				}
				way.key = fmt.Sprintf("%s > %s, isolation, by %s", way.from.Interface, way.to.Interface, program)
				way.drops(t, h, 3+i)
			}
		}
		d.passes(t)
		counts := countsOf(t, h)
		must(h.Run(h.Firewall, "restore"))(t)
		d.unchanged(t, counts, "restored")
	})
}

// TestDropsFollow prints a line for each change, and ends well on a signal.
func TestDropsFollow(t *testing.T) {
	t.Parallel()
	onNFTables(t, func(t *testing.T, h *host.Host) {
		d := newDroppers(t, h)
		d.protect(t, h)
		way := d.plain("IPv4")[0]
		way.drops(t, h, 7) // of which nothing is told: it was before
		type grown struct {
			Drop       dropCount
			NewPackets uint64
		}
		cmd := exec.Command(h.Firewall, "drops", "--follow", "-o", "json")
		stdout := must(cmd.StdoutPipe())(t)
		ok(t, cmd.Start())
		lines := make(chan grown)
		go func() {
			defer close(lines)
			for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
				var c grown
				if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
					t.Errorf("%v: %s", err, scanner.Text())
				}
				lines <- c
			}
		}()
		told := 0
		for deadline := time.After(time.Minute); told < 2; {
			ok(t, way.send(3))
			select {
			case c := <-lines:
				if c.Drop.key() != way.key {
					continue // a host has something of its own to say
				}
				if c.NewPackets == 0 || c.NewPackets%3 != 0 || c.Drop.Packets <= c.NewPackets {
					t.Errorf("got %+v", c)
				}
				told++
			case <-time.After(300 * time.Millisecond):
			case <-deadline:
				t.Fatal("nothing is told")
			}
		}
		ok(t, cmd.Process.Signal(syscall.SIGTERM))
		for range lines { // what was on its way
		}
		ok(t, cmd.Wait())
	})
}
