// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
)

// delNothing is a DEL of a container that was never added. nerdctl sends one ahead of
// every ADD, with neither a network namespace nor a prevResult.
const delNothing = "DEL of nothing"

// verbs are called in this order, each by all sides before the next one.
var verbs = []string{delNothing, "ADD", "CHECK", "DEL"}

// group is sides that are measured in turn: the first one is what the others are
// compared with.
type group struct {
	name  string
	sides []Side
}

// groups returns those of the backends that are wanted.
func groups(o options) []group {
	var all []group
	for _, families := range o.families {
		for _, others := range o.others {
			all = append(all, groupsIn(network{Bridges: bridges, Dual: families == "dual"}, others, o.backends)...)
		}
	}
	return all
}

// groupsIn returns those of backends in one setting. Nobody has ufw beside firewalld.
func groupsIn(n network, others string, backends []string) []group {
	upstream := func(variant string, firewalld bool) Side {
		return Side{Name: "upstream", Plugin: Upstream, Variant: variant, Firewalld: firewalld, Others: others, Network: n}
	}
	ours := func(name, backend, variant string) Side {
		return Side{Name: name, Plugin: Ours, Backend: backend, Variant: variant, Firewalld: name == "firewalld", Others: others, Network: n}
	}
	all := []group{
		{"nf_tables", []Side{upstream("nft", false), ours("iptables-nft", "", "nft"), ours("nftables", "nftables", "nft")}},
		{"legacy", []Side{upstream("legacy", false), ours("iptables-legacy", "", "legacy")}},
		{"firewalld", []Side{upstream("nft", true), ours("firewalld", "", "nft")}},
	}
	for i, g := range all {
		all[i].sides = slices.DeleteFunc(g.sides, func(s Side) bool { return s.Plugin == Ours && !slices.Contains(backends, s.Name) })
	}
	return slices.DeleteFunc(all, func(g group) bool {
		return len(g.sides) == 1 || others == othersUFW && g.name == "firewalld"
	})
}

// series is the measurements of a group in one state of the hosts.
type series struct {
	containers, atOnce int
	of                 map[string][]measured // by verb, by side
}

// measured is the measurements of one verb by one side, each in the order of the
// rounds.
type measured struct {
	wall, cpu []float64 // milliseconds
	peak      []float64 // KiB
	waits     []Wait
	failures  []string
}

// measureCalls measures all of a group.
func measureCalls(g group, o options, p *progress) (r Report, err error) {
	setting := g.sides[0].setting()
	p.say("%s, %s: starting hosts", g.name, setting)
	sides, stop, err := startAll(g.sides)
	defer stop()
	if err != nil {
		return r, err
	}
	for _, containers := range o.containersOf(g) {
		p.say("%s, %s: adding containers, up to %d", g.name, setting, containers)
		if err := each(sides, func(r *remote) error { return r.tell("Populate", containers) }); err != nil {
			return r, err
		}
		p.say("%s, %s, %d containers", g.name, setting, containers)
		for _, atOnce := range o.atOnce {
			s := series{containers, atOnce, map[string][]measured{}}
			if err := s.measure(sides, o, p); err != nil {
				return r, err
			}
			r.Calls = append(r.Calls, s.rows(g)...)
		}
		floor, err := measureFloor(sides, containers, o)
		if err != nil {
			return r, err
		}
		traces, err := traceCalls(g, sides, containers)
		if err != nil {
			return r, err
		}
		r.Floor, r.Traces = append(r.Floor, floor...), append(r.Traces, traces...)
	}
	return r, nil
}

// startAll starts the hosts of sides. stop ends those that were started.
func startAll(all []Side) (sides []*remote, stop func(), err error) {
	stop = func() {
		for _, r := range sides {
			_ = r.stop()
		}
	}
	for _, s := range all {
		r, err := start(s)
		if err != nil {
			return nil, stop, fmt.Errorf("starting the host of %s: %w", s.Name, err)
		}
		sides = append(sides, r)
	}
	return sides, stop, nil
}

// each does something on all hosts at once.
func each(sides []*remote, do func(*remote) error) error {
	errs := make(chan error)
	for _, r := range sides {
		go func() { errs <- do(r) }()
	}
	var all []error
	for range sides {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// peaks is how often the peak memory of a call is measured, which hardly varies.
const peaks = 3

func (s *series) measure(sides []*remote, o options, p *progress) error {
	for _, v := range verbs {
		s.of[v] = make([]measured, len(sides))
	}
	for n := range o.roundsOf(s.atOnce) {
		if err := s.round(sides, n, (*measured).time); err != nil {
			return err
		}
		p.step()
	}
	for n := 0; n < peaks && s.atOnce == 1; n++ {
		if err := s.round(sides, n, (*measured).memory); err != nil {
			return err
		}
	}
	return nil
}

func (m *measured) time(r *remote, c Call) error {
	var out Outcome
	err := r.ask("Call", c, &out)
	m.wall, m.cpu = append(m.wall, milliseconds(out.Wall)), append(m.cpu, milliseconds(out.CPU))
	m.failures = append(m.failures, out.Failures...)
	return err
}

func (m *measured) memory(r *remote, c Call) error {
	var kib int64
	err := r.ask("Peak", c, &kib)
	m.peak = append(m.peak, float64(kib))
	return err
}

// round calls the verbs for the same containers on all hosts, verb by verb in turn.
func (s *series) round(sides []*remote, n int, measure func(*measured, *remote, Call) error) error {
	round := Round{s.containers, s.atOnce}
	if err := each(sides, func(r *remote) error { return r.tell("Begin", round) }); err != nil {
		return err
	}
	for _, verb := range verbs {
		if verb == "ADD" {
			if err := each(sides, func(r *remote) error { return r.tell("Attach", round) }); err != nil {
				return err
			}
		}
		if err := inTurn(sides, n, func(side int) error {
			return measure(&s.of[verb][side], sides[side], Call{round, verb})
		}); err != nil {
			return err
		}
	}
	return each(sides, func(r *remote) error { return r.tell("Detach", round) })
}

// rows compares each side with the first.
func (s *series) rows(g group) []CallRow {
	var rows []CallRow
	for side := 1; side < len(g.sides); side++ {
		for _, verb := range verbs {
			upstream, ours := s.of[verb][0], s.of[verb][side]
			row := CallRow{
				Backend: g.sides[side].Name, Setting: g.sides[side].setting(), Verb: verb,
				Containers: s.containers, AtOnce: s.atOnce, Upstream: upstream.cost(), Ours: ours.cost(),
				Pairs: summarize(ratios(upstream.wall, ours.wall)),
			}
			row.Faster = row.Upstream.Wall.Median / row.Ours.Wall.Median
			row.Target = targetOf(row)
			rows = append(rows, row)
		}
	}
	return rows
}

func (m measured) cost() Cost {
	return Cost{summarize(m.wall), summarize(m.cpu), summarize(m.peak).Median, m.failures}
}

// ratios divides pairwise.
func ratios(a, b []float64) []float64 {
	var all []float64
	for i := range a {
		all = append(all, a[i]/b[i])
	}
	return all
}
