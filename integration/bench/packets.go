// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

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
	Target     float64 `json:"target,omitempty"`
}

// Of the hosts that packets pass, the first has no firewall. The second says what
// connection tracking costs, which each firewall needs.
func packetSides() []Side {
	n := network{Bridges: 500, Dual: true}
	return []Side{
		{Name: "none", Plugin: NoPlugin, Variant: "nft", Network: n},
		{Name: "tracking only", Plugin: NoPlugin, Variant: "nft", Conntrack: true, Network: n},
		{Name: "upstream", Plugin: Upstream, Variant: "nft", Network: n},
		{Name: "iptables-nft", Plugin: Ours, Variant: "nft", Network: n},
		{Name: "nftables", Plugin: Ours, Backend: "nftables", Variant: "nft", Network: n},
	}
}

// packetContainers are how many containers there are, of which the last one sends.
var packetContainers = []int{1, 1000}

// measurePackets sends through all firewalls in turn.
func measurePackets(o options, p *progress) ([]PacketRow, error) {
	p.say("packets: starting hosts")
	sides, stop, err := startAll(packetSides())
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
	rates := map[string][][]float64{}
	for _, what := range packetKinds {
		rates[what] = make([][]float64, len(sides))
	}
	for n := range o.packetRounds() {
		for _, what := range packetKinds {
			for i := range sides {
				side := (i + n) % len(sides)
				var rate float64
				if err := sides[side].ask("Traffic", TrafficOf{what}, &rate); err != nil {
					return nil, fmt.Errorf("%s: %w", what, err)
				}
				rates[what][side] = append(rates[what][side], rate)
			}
		}
		p.step()
	}
	var rows []PacketRow
	for _, what := range packetKinds {
		for side, r := range sides {
			row := PacketRow{
				r.Name, containers, what, packetUnits[what], summarize(rates[what][side]),
				summarize(ratios(rates[what][side], rates[what][0])), summarize(ratios(rates[what][side], rates[what][1])), 0,
			}
			if r.Name == "nftables" {
				row.Target = packetTarget
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
