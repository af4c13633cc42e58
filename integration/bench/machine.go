// SPDX-License-Identifier: Apache-2.0

package main

// Machine is what was measured on.
type Machine struct {
	Processor  string `json:"processor"`
}

// PacketRow is what became of packets.
type PacketRow struct{}
