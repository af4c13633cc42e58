// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/cni-isolation/firewall/integration/host"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// path is a way from a place to a destination: a cell of the table.
type path struct {
	from   place
	to     destination
	expect host.Verdict
	probes []probe // none from a place to itself
}

// probe is one attempt at a path.
type probe struct {
	kind kind
	seen host.Verdict
	why  string // where the verdict alone does not tell
}

// kind is what a probe sends.
type kind struct {
	protocol string
	family   policy.Family
}

// The protocols. A published port is TCP's alone: a ping to the host's address
// is answered by the host.
const (
	ping = "ping"
	tcp  = "TCP"
)

// String returns the kind as the table's legend has it.
func (k kind) String() string { return k.protocol + " " + k.family.String() }

// Verdicts besides those of package host.
const (
	stranger host.Verdict = "stranger" // somebody else answered
	broken   host.Verdict = "broken"   // the probe itself failed
)

// paths returns the table before anything is sent.
func paths(expect promise) [][]path {
	var rows [][]path
	for _, from := range places() {
		var row []path
		for _, to := range destinations() {
			row = append(row, path{from, to, expect(from, to), probesBetween(from, to)})
		}
		rows = append(rows, row)
	}
	return rows
}

func probesBetween(from place, to destination) []probe {
	if from.name == to.name && to.port == 0 {
		return nil
	}
	var probes []probe
	for _, f := range policy.BothFamilies.List() {
		if to.port == 0 {
			probes = append(probes, probe{kind: kind{ping, f}})
		}
		probes = append(probes, probe{kind: kind{tcp, f}})
	}
	return probes
}

// patience outlasts the second after which a SYN that was lost is sent again.
const patience = 2 * host.Patience

// send sends all probes, in two waves: the start of a hundred pings keeps this
// process so busy that connections would time out of themselves. Within a wave
// all wait for their answer together, the blocked ones a second.
func (w *world) send(rows [][]path) {
	for _, protocol := range []string{tcp, ping} {
		var wg sync.WaitGroup
		for _, p := range slices.Concat(rows...) {
			for i := range p.probes {
				if attempt := &p.probes[i]; attempt.kind.protocol == protocol {
					wg.Go(func() { attempt.seen, attempt.why = w.try(p, attempt.kind) })
				}
			}
		}
		wg.Wait()
	}
}

// try sends one probe and returns what became of it, and why where that is not
// clear.
func (w *world) try(p path, k kind) (seen host.Verdict, why string) {
	from, address := w.ends[p.from.name], w.address(p.to, k.family)
	if k.protocol == ping {
		seen, err := from.Ping(address, patience)
		return orBroken(seen, err)
	}
	seen, answered, err := from.Connect(address, cmp.Or(p.to.port, servedPort), patience)
	if seen == host.Open && answered != p.to.name {
		return stranger, fmt.Sprintf("%q answered", answered)
	}
	return orBroken(seen, err)
}

func orBroken(seen host.Verdict, err error) (host.Verdict, string) {
	if err != nil {
		return broken, err.Error()
	}
	return seen, ""
}

func (w *world) address(to destination, f policy.Family) string {
	end := w.ends[to.name]
	if to.port != 0 {
		end = w.ends["host"]
	}
	if f == policy.IPv4 {
		return end.IPv4
	}
	return end.IPv6
}

// wrong returns the probes that did not see what is expected.
func (p path) wrong() []probe {
	var wrong []probe
	for _, attempt := range p.probes {
		if attempt.seen != p.expect {
			wrong = append(wrong, attempt)
		}
	}
	return wrong
}
