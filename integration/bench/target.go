// SPDX-License-Identifier: Apache-2.0

package main

// targets are how many times as fast as upstream's plugin a verb is to be, with
// containers that have addresses of both families, by backend. For several at
// once they are the same.
var targets = map[string]map[string]float64{
	"iptables-nft":    {"ADD": 8, "CHECK": 6, "DEL": 3},
	"iptables-legacy": {"ADD": 10, "CHECK": 6, "DEL": 2.5},
	"nftables":        {"ADD": 20, "CHECK": 10, "DEL": 4},
	"firewalld":       {"ADD": 4, "CHECK": 4, "DEL": 2},
}

func targetOf(r CallRow) float64 {
	if r.Setting != (Setting{"dual-stack", othersNone}) {
		return 0
	}
	return targets[r.Backend][r.Verb]
}

// growthTargets are how many times as long ADD may take with 1,000 containers as
// with 100.
var growthTargets = map[string]float64{"iptables-nft": 2, "iptables-legacy": 2, "nftables": 1.1}

// growth compares ADD on the most crowded host with that on a less crowded one,
// each plugin with itself.
func growth(rows []CallRow) []GrowthRow {
	const from, to = 100, 1000
	var all []GrowthRow
	for _, small := range rows {
		for _, large := range rows {
			if small.Verb != "ADD" || large.Verb != "ADD" || small.AtOnce != 1 || large.AtOnce != 1 ||
				small.Backend != large.Backend || small.Setting != large.Setting || small.Containers != from || large.Containers != to {
				continue
			}
			all = append(all,
				GrowthRow{"upstream", small.Backend, small.Setting, from, to, large.Upstream.Wall.Median / small.Upstream.Wall.Median, 0},
				GrowthRow{"ours", small.Backend, small.Setting, from, to, large.Ours.Wall.Median / small.Ours.Wall.Median, growthTargets[small.Backend]})
		}
	}
	return all
}

// packetTarget is which part of the speed without a firewall packets must keep,
// with nftables.
const packetTarget = 0.97
