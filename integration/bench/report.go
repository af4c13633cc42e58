// SPDX-License-Identifier: Apache-2.0

package main

// Report is all that was measured, as -o json writes it. Times are in
// milliseconds, memory in KiB.
type Report struct {
	Machine Machine        `json:"machine"`
	Calls   []CallRow      `json:"calls,omitempty"`
	Growth  []GrowthRow    `json:"growth,omitempty"`
	Floor   []FloorRow     `json:"floor,omitempty"`
	Traces  []TraceRow     `json:"traces,omitempty"`
	Packets []PacketRow    `json:"packets,omitempty"`
	Nerdctl *NerdctlReport `json:"nerdctl,omitempty"`
	LeftOut []string       `json:"leftOut,omitempty"`
}

// Setting is what the containers and the host have that rows compare.
type Setting struct {
	Families string `json:"families"`
	Others   string `json:"others"` // what else the host has
}

func (s Setting) String() string { return s.Families + besides[s.Others] }

// CallRow is one verb in one configuration, by both plugins.
type CallRow struct {
	Backend string `json:"backend"`
	Setting
	Verb       string `json:"verb"`
	Containers int    `json:"containers"`
	AtOnce     int    `json:"atOnce"`

	Upstream Cost `json:"upstream"`
	Ours     Cost `json:"ours"`

	Faster float64 `json:"timesAsFast"`        // upstream's median divided by ours
	Pairs  Summary `json:"timesAsFastByRound"` // the same for the two calls of each round
	Target float64 `json:"target,omitempty"`   // what Faster is to reach
}

// met reports whether a target is reached, or there is none.
func (r CallRow) met() bool { return r.Faster >= r.Target }

// Cost is what the calls of one plugin took.
type Cost struct {
	Wall     Summary  `json:"wall"`
	CPU      Summary  `json:"cpu"`
	Peak     float64  `json:"peak,omitempty"`
	Failures []string `json:"failures,omitempty"`
}

// GrowthRow compares ADD on a crowded host with ADD on one with fewer containers.
type GrowthRow struct {
	Plugin  string `json:"plugin"`
	Backend string `json:"backend"`
	Setting
	From   int     `json:"from"`
	To     int     `json:"to"`
	Times  float64 `json:"times"`
	Target float64 `json:"target,omitempty"` // at most
}

// FloorRow is what calls cannot go below, in one state of the host.
type FloorRow struct {
	Variant string `json:"variant"`
	Setting
	Containers int     `json:"containers"`
	Side       string  `json:"side"`
	What       string  `json:"what"`
	Wall       Summary `json:"wall"`
}
