// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// countedBy names the place that counts a family's packets.
var countedBy = map[policy.Family]policy.CountedBy{
	policy.IPv4: policy.CountedByIPTables, policy.IPv6: policy.CountedByIP6Tables,
}

// Drops returns what the rules of the isolation dropped, in the families whose programs are
// there. A rule tells the interfaces that it names: most name one.
//
// It starts the listing program as all calls do, once a family. coreos/go-iptables would
// start three, wait forever for one that hangs, and cost every call 0.04 ms at its start.
func (Driver) Drops() ([]policy.Drop, error) {
	installed, _ := Installed(policy.BothFamilies)
	var all []policy.Drop
	var errs []error
	for _, f := range installed.List() {
		drops, err := dropsOf(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
		}
		all = append(all, drops...)
	}
	return all, errors.Join(errs...)
}

func dropsOf(f policy.Family) ([]policy.Drop, error) {
	p, err := findPrograms(f)
	if err != nil {
		return nil, err
	}
	output, err := run("", p.list, "--wait", lockTimeout, "-v", "-S")
	if err != nil {
		return nil, err
	}
	t, err := parseTable(output)
	if err != nil {
		return nil, err
	}
	var drops []policy.Drop
	for _, chain := range []string{chainStage1, chainStage2} {
		for _, r := range t.rules[chain].list {
			way, packets := r.way(), r.counter(0)
			if way.target == "DROP" && packets > 0 {
				drops = append(drops, policy.Drop{
					From: way.in, To: way.out, Reason: policy.DropIsolation, CountedBy: countedBy[f],
					Packets: packets, Bytes: r.counter(1),
				})
			}
		}
	}
	return drops, nil
}

// counter returns a number behind -c: the first is of packets, the second of bytes.
func (r rule) counter(n int) uint64 {
	behind := -1
	for word, starts := range words(string(r)) {
		switch {
		case starts && word == "-c":
			behind = 0
		case behind == n:
			count, _ := strconv.ParseUint(word, 10, 64)
			return count
		case behind >= 0:
			behind++
		}
	}
	return 0
}
