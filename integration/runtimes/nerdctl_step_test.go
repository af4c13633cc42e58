// SPDX-License-Identifier: Apache-2.0

package runtimes

import "slices"

// Containers of nerdctl, besides those of every test.
const (
	both     = "both"     // on blue, and on red
	first    = "first"    // on green, which says icc=false
	second   = "second"   // beside it
	member   = "member"   // of an internal network
	comember = "comember" // of the same
)

// What server publishes, besides hostPort.
const (
	addressPort = 8081 // at one of the host's addresses
	rangePort   = 9001 // the second of two
	udpPort     = 82   // of the container

	firstPort = 8088
	webPort   = 8089
)

// step is one of the script.
type step struct {
	name     string
	do       func(*nerdctl)
	ways     []way
	blocked  policy
	upstream policy // with upstream's plugin, where it differs
}

// nerdctlWays are all that isolation, forwarding and publishing are about.
var nerdctlWays = slices.Concat(ways, []way{
	{from: other, to: server, ipv6: true},
	{from: peer, to: server, ipv6: true},
	{from: other, to: server, udp: true, port: udpPort},
	{from: peer, to: server, udp: true, port: udpPort},
	{from: theOutside, to: server, published: true, ipv6: true},
	{from: other, to: server, published: true, ipv6: true},
	{from: theOutside, to: server, published: true, udp: true},
	{from: other, to: server, published: true, udp: true},
	{from: theOutside, to: server, published: true, port: addressPort},
	{from: other, to: server, published: true, port: addressPort},
	{from: theOutside, to: server, published: true, port: rangePort},
	{from: other, to: server, published: true, port: rangePort},
})

// peerWays and otherWays are those of a container that is being stopped.
var (
	peerWays  = []way{{from: theHost, to: peer}, {from: other, to: peer}, {from: peer, to: other}}
	otherWays = []way{{from: theHost, to: other}, {from: server, to: other}, {from: other, to: server}}
)

var bothWays = []way{
	{from: both, to: server},
	{from: both, to: other},
	{from: peer, to: both},
	{from: other, to: both},
	{from: both, to: server, published: true},
}

var greenWays = []way{
	{from: first, to: second},
	{from: second, to: first},
	{from: first, to: theOutside},
	{from: theHost, to: first},
	{from: other, to: first},
	{from: second, to: first, published: true, port: firstPort},
	{from: other, to: first, published: true, port: firstPort},
	{from: theOutside, to: first, published: true, port: firstPort},
}

var composeWays = []way{
	{from: "c1-client-1", to: "c1-web-1"},
	{from: "c2-web-1", to: "c1-web-1"},
	{from: server, to: "c1-web-1"},
	{from: "c1-web-1", to: theOutside},
	{from: "c2-web-1", to: "c1-web-1", published: true, port: webPort},
}

// steps are those of a kind of host. Upstream's plugin closes published ports to
// other bridges, and where FORWARD drops, to everybody; a flush opens all, and what
// is attached after it isolates only its own bridge.
func (k nerdctlKind) steps() []step {
	steps := []step{
		{"networks that are edited", (*nerdctl).runOpen, nerdctlWays, open, nil},
		{"networks of nerdctl's, and a restart", (*nerdctl).isolate, nerdctlWays, sameBridge, closedPorts},
		{"rm -f, and run", func(n *nerdctl) { n.remove(peer); n.start(peer) }, nerdctlWays, sameBridge, closedPorts},
		{"what status says", (*nerdctl).status, nil, sameBridge, nil},
		{"a stop that takes its time", func(n *nerdctl) { n.stopSlowly(peer) }, peerWays, sameBridge, nil},
		{"one of the last of a network", func(n *nerdctl) { n.end(peer); n.stopSlowly(other) }, otherWays, closed, closedPorts},
		{"both are started again", func(n *nerdctl) { n.end(other) }, ways, sameBridge, closedPorts},
		{"a container on both networks", func(n *nerdctl) { n.start(both, "red") }, bothWays, betweenBoth, nil},
		{"icc=false, br_netfilter off", func(n *nerdctl) { n.runGreen("0") }, greenWays, isolated, unfiltered},
		{"icc=false, br_netfilter on", func(n *nerdctl) { n.runGreen("1") }, greenWays, isolated, closedIsolated},
		{"an internal network", (*nerdctl).runInternal, []way{{from: comember, to: member}}, open, nil},
		{"two projects of compose", (*nerdctl).runProjects, composeWays, sameBridge, closedPorts},
		{"what status says of all", (*nerdctl).status, nil, sameBridge, nil},
		{"an end of both projects", (*nerdctl).removeProjects, acrossBridges, sameBridge, nil},
	}
	if k.iptables {
		steps = append(steps,
			step{"FORWARD drops", func(n *nerdctl) { n.forward("DROP") }, nerdctlWays, sameBridge, onlyFromHost},
			step{"FORWARD accepts", func(n *nerdctl) { n.forward("ACCEPT") }, acrossBridges, sameBridge, nil})
	}
	return append(steps,
		step{"a flush", func(n *nerdctl) { must(n.h.Run("sh", "-ec", k.flush))(n.t) }, acrossBridges, sameBridge, k.flushed},
		step{"one is restarted after it", func(n *nerdctl) { n.revive(server) }, acrossBridges, sameBridge, k.revived},
		step{"all are", func(n *nerdctl) { n.revive(peer); n.revive(other) }, nerdctlWays, sameBridge, closedPorts},
		step{"what restore and status say in the end", func(n *nerdctl) { n.restore(); n.status() }, nil, sameBridge, nil},
	)
}

// betweenBoth is about a container's address on blue, which red may not reach.
func betweenBoth(w way) bool { return w.from == other }

// closedPorts is what upstream's plugin makes of same-bridge.
func closedPorts(w way) bool {
	w.published = false
	return sameBridge(w)
}

// closedIsolated is what it makes of isolated.
func closedIsolated(w way) bool {
	w.published = false
	return isolated(w)
}

// unfiltered is that where same-bridge frames pass no rule.
func unfiltered(w way) bool {
	return closedPorts(w) || w.published && isolated(way{from: w.from, to: w.to})
}

// onlyFromHost is what it leaves of published ports where FORWARD drops.
func onlyFromHost(w way) bool {
	return closedPorts(w) || w.published && w.from == theOutside
}

// closed is what firewalld makes of addresses that it has forgotten, and this plugin
// of the last container of a network, whose DEL comes before its end.
func closed(way) bool { return true }

// onlyToOther is what one ADD of server opens then.
func onlyToOther(w way) bool { return w.from != server }
