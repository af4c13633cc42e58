// SPDX-License-Identifier: Apache-2.0

package main

// NerdctlRow is one command of nerdctl, with either plugin.
type NerdctlRow struct {
	Backend string `json:"backend"`
	Setting
	Command string `json:"command"`
	AtOnce  int    `json:"atOnce"`

	Upstream NerdctlCost `json:"upstream"`
	Ours     NerdctlCost `json:"ours"`

	Pairs Summary `json:"timesAsFastByRound"` // wall, of the two of each round
}

// NerdctlCost is what the commands took with one plugin.
type NerdctlCost struct {
	Wall      Summary `json:"wall"`      // until the last one was done
	Plugin    Summary `json:"plugin"`    // its calls in one command
	PluginCPU Summary `json:"pluginCPU"` // likewise
	Share     Summary `json:"share"`     // of wall in which the plugin ran: nerdctl's lock keeps its calls apart
}

// NerdctlReport is what -nerdctl measures.
type NerdctlReport struct {
	Rows    []NerdctlRow `json:"rows"`
	StandIn Summary      `json:"standIn"` // how much longer a call takes by it
}

// outcomes are those of one command on one host, in the order of the rounds.
type outcomes struct {
	of  NerdctlOf
	all []NerdctlOutcome
}

func (o outcomes) each(value func(NerdctlOutcome) float64) []float64 {
	var values []float64
	for _, outcome := range o.all {
		values = append(values, value(outcome))
	}
	return values
}

func (o outcomes) wall() []float64 {
	return o.each(func(n NerdctlOutcome) float64 { return milliseconds(n.Wall) })
}

func (o outcomes) cost() NerdctlCost {
	count := float64(o.of.Count)
	return NerdctlCost{
		Wall:      summarize(o.wall()),
		Plugin:    summarize(o.each(func(n NerdctlOutcome) float64 { return milliseconds(n.Plugin) / count })),
		PluginCPU: summarize(o.each(func(n NerdctlOutcome) float64 { return milliseconds(n.PluginCPU) / count })),
		Share:     summarize(o.each(func(n NerdctlOutcome) float64 { return float64(n.Plugin) / float64(n.Wall) })),
	}
}

// measureNerdctl has nerdctl run and remove containers on the hosts of all groups.
func measureNerdctl(all []group, o options, p *progress) (*NerdctlReport, error) {
	r := new(NerdctlReport)
	var standIn []float64
	for _, g := range all {
		rows, longer, err := g.nerdctl(o, p)
		if err != nil {
			return nil, err
		}
		r.Rows, standIn = append(r.Rows, rows...), append(standIn, longer...)
	}
	r.StandIn = summarize(standIn)
	return r, nil
}

func (g group) nerdctl(o options, p *progress) (rows []NerdctlRow, standIn []float64, err error) {
	p.say("nerdctl, %s, %s: starting hosts", g.name, g.sides[0].setting())
	for i := range g.sides {
		g.sides[i].Nerdctl = true
	}
	sides, stop, err := startAll(g.sides)
	defer stop()
	if err != nil {
		return nil, nil, err
	}
	if err := each(sides, func(r *remote) error { return r.tell("StartNerdctl", Nothing{}) }); err != nil {
		return nil, nil, err
	}
	p.say("nerdctl, %s, %s", g.name, g.sides[0].setting())
	for _, atOnce := range o.atOnce {
		more, err := nerdctlRows(sides, atOnce, o, p)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, more...)
	}
	for n := range o.rounds {
		if err := inTurn(sides, n, func(side int) error {
			var longer float64
			err := sides[side].ask("StandIn", Nothing{}, &longer)
			standIn = append(standIn, longer)
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	return rows, standIn, nil
}

// nerdctlRows runs and removes the same containers on all hosts, in turn, and compares
// each side with the first.
func nerdctlRows(sides []*remote, atOnce int, o options, p *progress) ([]NerdctlRow, error) {
	var rows []NerdctlRow
	commands := []string{nerdctlRun, nerdctlRm}
	found := map[string][]outcomes{}
	for _, c := range commands {
		found[c] = make([]outcomes, len(sides))
	}
	for n := range o.roundsOf(atOnce) {
		for _, c := range commands {
			if err := inTurn(sides, n, func(side int) error {
				to := &found[c][side]
				to.of = NerdctlOf{c, atOnce}
				var outcome NerdctlOutcome
				err := sides[side].ask("Nerdctl", to.of, &outcome)
				to.all = append(to.all, outcome)
				return err
			}); err != nil {
				return nil, err
			}
		}
		p.step()
	}
	for side := 1; side < len(sides); side++ {
		for _, c := range commands {
			upstream, ours := found[c][0], found[c][side]
			rows = append(rows, NerdctlRow{
				Backend: sides[side].Name, Setting: sides[side].setting(), Command: c, AtOnce: atOnce,
				Upstream: upstream.cost(), Ours: ours.cost(), Pairs: summarize(ratios(upstream.wall(), ours.wall())),
			})
		}
	}
	return rows, nil
}
