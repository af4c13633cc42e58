// SPDX-License-Identifier: Apache-2.0

package main

// Report is all that was measured, as -o json writes it. Times are in
// milliseconds, memory in KiB.
type Report struct {
	Machine Machine     `json:"machine"`
	Calls   []Row       `json:"calls,omitempty"`
	Floor   []Row       `json:"floor,omitempty"`
	Packets []PacketRow `json:"packets,omitempty"`
	LeftOut []string    `json:"leftOut,omitempty"`
}

// Row is one verb in one configuration, or one part of the floor.
type Row struct {
	Backend    string `json:"backend"`
	Families   string `json:"families"`
	Verb       string `json:"verb,omitempty"`
	Floor      string `json:"floor,omitempty"`
	Containers int    `json:"containers"`
	AtOnce     int    `json:"atOnce"`

	Upstream Summary `json:"upstream,omitzero"`
	Ours     Summary `json:"ours"`
	Ratio    float64 `json:"ratio,omitempty"`   // of the medians, upstream's to ours
	Faster   Summary `json:"faster,omitzero"`   // the ratios of each round
	Target   float64 `json:"target,omitempty"`

	UpstreamPeak     float64  `json:"upstreamPeak,omitempty"`
	OursPeak         float64  `json:"oursPeak,omitempty"`
	UpstreamFailures []string `json:"upstreamFailures,omitempty"`
	OursFailures     []string `json:"oursFailures,omitempty"`
}
