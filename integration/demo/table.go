// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cni-isolation/firewall/integration/host"
)

// table sends everything, prints what became of it and returns an error if it
// was not as expected.
func (w *world) table(expect promise, out output) error {
	rows := paths(expect)
	w.send(rows)
	out.grid(grid(rows, out))
	out.print("%s\n", legend)
	total, wrong := 0, 0
	for _, p := range slices.Concat(rows...) {
		total += len(p.probes)
		wrong += len(p.wrong())
		if len(p.wrong()) > 0 {
			out.print("%s\n", out.loud(p.complaint()))
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d probes did not see what was expected", wrong, total)
	}
	out.print("%s\n", out.good(fmt.Sprintf("All %d probes saw what was expected.", total)))
	return nil
}

const legend = `
Each row sends to each column, by ping and by TCP, over IPv4 and over IPv6 (to a published port by TCP alone).
open: all get an answer.  -: none does, as it should be.  In CAPITALS!: not as expected, explained below.`

// title is the head of a column.
func (d destination) title() string {
	if d.port != 0 {
		return fmt.Sprintf("host:%d", d.port)
	}
	return d.name
}

func grid(rows [][]path, out output) [][]cell {
	head := []cell{{"from \\ to", out.plain}}
	for _, p := range rows[0] {
		head = append(head, cell{p.to.title(), out.plain})
	}
	all := [][]cell{head}
	for _, row := range rows {
		line := []cell{{row[0].from.name, out.plain}}
		for _, p := range row {
			line = append(line, p.cell(out))
		}
		all = append(all, line)
	}
	return all
}

// cell is what the table says of a path: the verdict that its probes share.
func (p path) cell(out output) cell {
	switch wrong := p.wrong(); {
	case len(p.probes) == 0:
		return cell{"", out.plain}
	case len(wrong) > 0:
		return cell{shout(wrong, len(p.probes)), out.loud}
	case p.expect == host.Open:
		return cell{string(host.Open), out.good}
	}
	return cell{"-", out.quiet}
}

// shout says in a word or two what some of a path's probes saw, or all.
func shout(wrong []probe, all int) string {
	word := wrong[0].seen
	for _, attempt := range wrong {
		if attempt.seen != word {
			word = "wrong" // in more than one way
		}
	}
	if len(wrong) < all {
		word = "partly " + word
	}
	return strings.ToUpper(string(word)) + "!"
}

// complaint explains a cell that is not as expected.
func (p path) complaint() string {
	var seen []string
	for _, attempt := range p.wrong() {
		s := fmt.Sprintf("%s %s", attempt.kind, attempt.seen)
		if attempt.why != "" {
			s += " (" + attempt.why + ")"
		}
		seen = append(seen, s)
	}
	return fmt.Sprintf("%s to %s: expected %s, but %s", p.from.name, p.to.title(), p.expect, strings.Join(seen, ", "))
}
