// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// verbs are called in this order, each by all sides before the next one.
var verbs = []string{"ADD", "CHECK", "DEL"}

// group is sides that are measured in turn: the first one is what the others are
// compared with.
type group struct {
	name  string
	sides []Side
}

// groups returns those of the backends that are wanted.
func groups(o options) []group {
	var all []group
	for _, dual := range o.families.both() {
		n := network{Bridges: bridges, Dual: dual}
		upstream := func(variant string, firewalld bool) Side {
			return Side{Name: "upstream", Plugin: Upstream, Variant: variant, Firewalld: firewalld, Network: n}
		}
		ours := func(name, backend, variant string) Side {
			return Side{Name: name, Plugin: Ours, Backend: backend, Variant: variant, Firewalld: name == "firewalld", Network: n}
		}
		for _, g := range []group{
			{"nf_tables", []Side{upstream("nft", false), ours("iptables-nft", "", "nft"), ours("nftables", "nftables", "nft")}},
			{"legacy", []Side{upstream("legacy", false), ours("iptables-legacy", "", "legacy")}},
			{"firewalld", []Side{upstream("nft", true), ours("firewalld", "", "nft")}},
		} {
			g.sides = slices.DeleteFunc(g.sides, func(s Side) bool { return s.Plugin == Ours && !slices.Contains(o.backends, s.Name) })
			if len(g.sides) > 1 {
				all = append(all, g)
			}
		}
	}
	return all
}

// series is the measurements of a group in one state of the hosts.
type series struct {
	containers, atOnce int
	took               map[string][][]float64 // by verb, by side, in milliseconds
	peak               map[string][][]float64 // likewise, in KiB
	failures           map[string][][]string
}

func newSeries(containers, atOnce, sides int) *series {
	s := &series{containers, atOnce, map[string][][]float64{}, map[string][][]float64{}, map[string][][]string{}}
	for _, v := range verbs {
		s.took[v], s.peak[v], s.failures[v] = make([][]float64, sides), make([][]float64, sides), make([][]string, sides)
	}
	return s
}

// measureCalls measures all of a group.
func measureCalls(g group, o options, p *progress) (rows []Row, err error) {
	var sides []*remote
	for _, s := range g.sides {
		p.say("starting the host of %s", s.Name)
		r, err := start(s)
		if err != nil {
			return nil, err
		}
		defer func() { _ = r.stop() }()
		sides = append(sides, r)
	}
	var floors []Row
	for _, containers := range o.containers {
		p.say("%s, %s: %d containers", g.name, familiesOf(g.sides[0].Network), containers)
		if err := each(sides, func(r *remote) error { return r.tell("Populate", containers) }); err != nil {
			return nil, err
		}
		for _, atOnce := range o.atOnce {
			s, err := measureSeries(sides, containers, atOnce, o, p)
			if err != nil {
				return nil, err
			}
			rows = append(rows, s.rows(g)...)
		}
		f, err := measureFloor(sides, containers, o)
		if err != nil {
			return nil, err
		}
		floors = append(floors, f...)
	}
	return append(rows, floors...), nil
}

// each does something on all hosts at once.
func each(sides []*remote, do func(*remote) error) error {
	errs := make(chan error)
	for _, r := range sides {
		go func() { errs <- do(r) }()
	}
	var first error
	for range sides {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func measureSeries(sides []*remote, containers, atOnce int, o options, p *progress) (*series, error) {
	s := newSeries(containers, atOnce, len(sides))
	rounds := o.rounds
	if atOnce > 1 {
		rounds = max(3, o.rounds/3)
	}
	for n := range rounds {
		if err := s.round(sides, n, func(r *remote, side int, call Call) error {
			var out Outcome
			err := r.ask("Call", call, &out)
			s.took[call.Verb][side] = append(s.took[call.Verb][side], float64(out.Took)/float64(time.Millisecond))
			s.failures[call.Verb][side] = append(s.failures[call.Verb][side], out.Failures...)
			return err
		}); err != nil {
			return nil, err
		}
		p.step()
	}
	const peaks = 3
	for n := 0; n < peaks && atOnce == 1; n++ {
		if err := s.round(sides, n, func(r *remote, side int, call Call) error {
			var kib int64
			err := r.ask("Peak", call, &kib)
			s.peak[call.Verb][side] = append(s.peak[call.Verb][side], float64(kib))
			return err
		}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// round adds, checks and deletes the same containers on all hosts, verb by verb in
// turn. Every side is the first in some rounds.
func (s *series) round(sides []*remote, n int, call func(r *remote, side int, c Call) error) error {
	round := Round{s.containers, s.atOnce}
	if err := each(sides, func(r *remote) error { return r.tell("Attach", round) }); err != nil {
		return err
	}
	for _, verb := range verbs {
		for i := range sides {
			side := (i + n) % len(sides)
			if err := call(sides[side], side, Call{round, verb}); err != nil {
				return err
			}
		}
	}
	return each(sides, func(r *remote) error { return r.tell("Detach", round) })
}

// rows compares each side with the first.
func (s *series) rows(g group) []Row {
	var rows []Row
	for side := 1; side < len(g.sides); side++ {
		for _, verb := range verbs {
			row := Row{
				Backend: g.sides[side].Name, Families: familiesOf(g.sides[side].Network), Verb: verb,
				Containers: s.containers, AtOnce: s.atOnce,
				Upstream: summarize(s.took[verb][0]), Ours: summarize(s.took[verb][side]),
				Faster:           summarize(ratios(s.took[verb][0], s.took[verb][side])),
				UpstreamPeak:     summarize(s.peak[verb][0]).Median,
				OursPeak:         summarize(s.peak[verb][side]).Median,
				UpstreamFailures: s.failures[verb][0], OursFailures: s.failures[verb][side],
			}
			row.Ratio = row.Upstream.Median / row.Ours.Median
			rows = append(rows, row)
		}
	}
	return rows
}

// ratios divides pairwise.
func ratios(a, b []float64) []float64 {
	var all []float64
	for i := range a {
		all = append(all, a[i]/b[i])
	}
	return all
}

func familiesOf(n network) string {
	if n.Dual {
		return "dual-stack"
	}
	return "IPv4"
}

func (r Row) String() string {
	return fmt.Sprintf("%s of %s, %s, %d containers, %d at once", r.Verb, r.Backend, r.Families, r.Containers, r.AtOnce)
}
