// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
)

// PacketRow is what one kind of traffic reaches through one firewall, from the
// last of some containers.
type PacketRow struct {
	Firewall   string  `json:"firewall"`
	Containers int     `json:"containers"`
	What       string  `json:"what"`
	Unit       string  `json:"unit"`
	Rate       Summary `json:"rate"`
	Kept       Summary `json:"kept"`         // of the rate without a firewall, in the same round
	OfTracking Summary `json:"keptTracking"` // likewise, of that with nothing but connection tracking
	OfUsual    Summary `json:"keptUsual"`    // likewise, of that of the same firewall with same-bridge
	CPU        Summary `json:"cpu"`          // microseconds for each, of who sends and who answers
	CPUOfUsual Summary `json:"cpuOfUsual"`   // of that of the same firewall with same-bridge, in the same round
	Target     float64 `json:"target,omitempty"`
}

// Of the hosts that packets pass, the first has no firewall. The second says what
// connection tracking costs, which each firewall needs.
func packetSides(firewalls []string) []Side {
	all := []Side{
		{Name: "none", Plugin: NoPlugin},
		{Name: "tracking only", Plugin: NoPlugin, Conntrack: true},
		{Name: "upstream", Plugin: Upstream},
		{Name: "iptables-nft", Plugin: Ours},
		{Name: "iptables-nft-strict", Plugin: Ours, Policy: "strict"},
		{Name: "nftables", Plugin: Ours, Backend: "nftables"},
		{Name: "nftables-strict", Plugin: Ours, Backend: "nftables", Policy: "strict"},
		{Name: "nftables-unguarded", Plugin: Ours, Backend: "nftables", Unguarded: true},
	}
	for i := range all {
		all[i].Variant, all[i].Network = "nft", network{Bridges: 500, Dual: true}
	}
	return slices.DeleteFunc(all, func(s Side) bool { return s.Plugin != NoPlugin && !slices.Contains(firewalls, s.Name) })
}

// usual returns the side that has the same firewall with the policy same-bridge, where
// it is another one, and else -1.
func usual(sides []*remote, of Side) int {
	return slices.IndexFunc(sides, func(r *remote) bool {
		return r.Name != of.Name && r.Plugin == Ours && of.Plugin == Ours && r.Backend == of.Backend && r.Policy == "" && !r.Unguarded
	})
}

// packetContainers are how many containers there are, of which the last one sends.
var packetContainers = []int{1, 1000}

// measurePackets sends through all firewalls in turn.
func measurePackets(o options, p *progress) ([]PacketRow, error) {
	p.say("packets: starting hosts")
	sides, stop, err := startAll(packetSides(o.firewalls))
	defer stop()
	if err != nil {
		return nil, err
	}
	var rows []PacketRow
	for _, containers := range packetContainers {
		p.say("packets: adding containers, up to %d", containers)
		err := each(sides, func(r *remote) error {
			if err := r.tell("Populate", containers-1); err != nil {
				return err
			}
			return r.tell("Join", containers-1)
		})
		if err != nil {
			return nil, err
		}
		p.say("packets: from the last of %d containers", containers)
		more, err := packetRows(sides, containers, o, p)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func packetRows(sides []*remote, containers int, o options, p *progress) ([]PacketRow, error) {
	rates, cpu := map[string][][]float64{}, map[string][][]float64{}
	for _, what := range packetKinds {
		rates[what], cpu[what] = make([][]float64, len(sides)), make([][]float64, len(sides))
	}
	for n := range o.packetRounds() {
		for _, what := range packetKinds {
			if err := inTurn(sides, n, func(side int) error {
				var outcome TrafficOutcome
				err := sides[side].ask("Traffic", TrafficOf{what}, &outcome)
				rates[what][side] = append(rates[what][side], outcome.Rate)
				if outcome.CPU > 0 {
					cpu[what][side] = append(cpu[what][side], outcome.CPU)
				}
				return err
			}); err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
		}
		p.step()
	}
	var rows []PacketRow
	for _, what := range packetKinds {
		for side, r := range sides {
			kept := func(of int) Summary { return summarize(ratios(rates[what][side], rates[what][of])) }
			row := PacketRow{
				Firewall: r.Name, Containers: containers, What: what, Unit: packetUnits[what],
				Rate: summarize(rates[what][side]), Kept: kept(0), OfTracking: kept(1),
				CPU: summarize(cpu[what][side]),
			}
			if u := usual(sides, r.Side); u >= 0 {
				row.OfUsual, row.CPUOfUsual = kept(u), summarize(ratios(cpu[what][side], cpu[what][u]))
			}
			if r.Name == "nftables" {
				row.Target = packetTarget
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
