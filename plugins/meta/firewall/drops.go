// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewall"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// countEach is how often "drops --follow" asks: the kernel does not tell when it counts.
const countEach = time.Second

// dropsReport is the JSON of "cni-firewall drops".
type dropsReport struct {
	Drops    []drop              `json:"drops"`
	Problems []diagnosis.Problem `json:"problems"`
}

// drop is a count.
type drop struct {
	From      side              `json:"from"`
	To        side              `json:"to"`
	Reason    policy.DropReason `json:"reason"`
	CountedBy policy.CountedBy  `json:"countedBy"`
	Packets   uint64            `json:"packets"`
	Bytes     uint64            `json:"bytes"`
	Last      *time.Time        `json:"last,omitempty"`
}

// grownReport is a line of JSON of "cni-firewall drops --follow".
type grownReport struct {
	Drop       drop   `json:"drop"`
	NewPackets uint64 `json:"newPackets"` // since the line before
	NewBytes   uint64 `json:"newBytes"`
}

// side is where packets came from, or went to. What is not known is left out.
type side struct {
	Networks  []string `json:"networks,omitempty"`
	Container string   `json:"container,omitempty"`
	Interface string   `json:"interface,omitempty"`
}

func newDrop(d policy.Drop, holders map[string]firewall.Holder) drop {
	sideOf := func(name string) side {
		return side{holders[name].Networks, holders[name].Container, name}
	}
	counted := drop{
		From: sideOf(d.From), To: sideOf(d.To), Reason: d.Reason, CountedBy: d.CountedBy, Packets: d.Packets, Bytes: d.Bytes,
	}
	if !d.Last.IsZero() {
		last := d.Last.UTC().Truncate(time.Second)
		counted.Last = &last
	}
	return counted
}

func (p plugin) drops(in input) error {
	engine := p.engineFor(in)
	if in.has("follow") {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		p.followDrops(ctx, in, engine)
		return nil
	}
	counts, err := engine.Drops()
	var holders map[string]firewall.Holder
	if len(counts) > 0 {
		var unread error
		holders, unread = engine.Holders()
		p.warn(unread)
	}
	report := dropsReport{Drops: []drop{}, Problems: problemsOf(err, in.dataDir())}
	for _, d := range counts {
		report.Drops = append(report.Drops, newDrop(d, holders))
	}
	return errors.Join(err, p.answer(in, report, tableOfDrops(report.Drops)))
}

func tableOfDrops(drops []drop) string {
	if len(drops) == 0 {
		return "Nothing was dropped since the rules were made.\n"
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "FROM\tTO\tREASON\tPACKETS\tBYTES\tLAST\tCOUNTED BY")
	for _, d := range drops {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", d.From, d.To, d.Reason, d.Packets, d.Bytes, d.lastTime(), d.CountedBy)
	}
	_ = t.Flush() // a Builder takes all
	return b.String()
}

// String returns the network and the interface of a side.
func (s side) String() string {
	if s.Interface == "" {
		return "-"
	}
	name := s.Interface
	if s.Container != "" {
		name += " of " + shorten(s.Container)
	}
	return orDash(strings.Join(s.Networks, ", ")) + " (" + name + ")"
}

func (d drop) lastTime() string {
	if d.Last == nil {
		return "-"
	}
	return d.Last.Local().Format(time.DateTime)
}

// follower tells of each change of a count.
type follower struct {
	plugin

	engine *firewall.Engine // one, because it keeps its connection to nftables
	isJSON bool
	before map[firewall.DropKey]policy.Drop // nil before the first reading
	said   string                           // by the last error
}

// followDrops prints a line for each count that has grown, until the context is done.
func (p plugin) followDrops(ctx context.Context, in input, engine *firewall.Engine) {
	f := &follower{plugin: p, engine: engine, isJSON: in.isJSON()}
	each := time.NewTicker(countEach)
	defer each.Stop()
	for {
		f.look()
		select {
		case <-ctx.Done():
			return
		case <-each.C:
		}
	}
}

// look reads the counts, and tells what has changed. The error of a reading is told once.
func (f *follower) look() {
	counts, err := f.engine.Drops()
	if said := fmt.Sprint(err); err != nil && said != f.said {
		f.warn(err)
		f.said = said
	}
	if grown := f.grown(counts); len(grown) > 0 {
		holders, unread := f.engine.Holders()
		f.warn(unread)
		for _, d := range grown {
			f.tell(d, holders)
		}
	}
	f.remember(counts, err == nil)
}

// remember keeps the counts for the next reading. Those that a whole reading lacks are gone.
func (f *follower) remember(counts []policy.Drop, whole bool) {
	if whole || f.before == nil {
		f.before = map[firewall.DropKey]policy.Drop{}
	}
	for _, d := range counts {
		f.before[firewall.KeyOf(d)] = d
	}
}

// grown returns the counts that are not as they were; of the first reading none. A smaller
// one is of a table that was made anew.
func (f *follower) grown(counts []policy.Drop) []policy.Drop {
	if f.before == nil {
		return nil
	}
	var grown []policy.Drop
	for _, d := range counts {
		if f.before[firewall.KeyOf(d)].Packets != d.Packets {
			grown = append(grown, d)
		}
	}
	return grown
}

// tell prints a count, with what has come since the one before.
func (f *follower) tell(d policy.Drop, holders map[string]firewall.Holder) {
	line, before := grownReport{newDrop(d, holders), d.Packets, d.Bytes}, f.before[firewall.KeyOf(d)]
	if d.Packets > before.Packets {
		line.NewPackets, line.NewBytes = d.Packets-before.Packets, d.Bytes-before.Bytes
	}
	if f.isJSON {
		_ = json.NewEncoder(f.stdout).Encode(line)
		return
	}
	_, _ = fmt.Fprintf(f.stdout, "%s  %s > %s  %s  +%d packets  +%d bytes  %s\n",
		time.Now().Format(time.DateTime), line.Drop.From, line.Drop.To, d.Reason, line.NewPackets, line.NewBytes, d.CountedBy)
}
