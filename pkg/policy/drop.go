// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Drop is how many packets the isolation dropped between two interfaces, as one place on the
// host counted them.
type Drop struct {
	From, To  string // interfaces; empty where that place does not tell them
	Reason    DropReason
	CountedBy CountedBy
	Packets   uint64
	Bytes     uint64
	Last      time.Time // the last packet; zero where that place does not tell it
}

// DropReason is why packets were dropped.
type DropReason string

// The reasons.
const (
	DropIsolation DropReason = "isolation"     // from one network to another, or within an isolated one
	DropForged    DropReason = "forged source" // the source lives elsewhere
	DropFrame     DropReason = "frame"         // with a VLAN tag, or neither IP nor ARP: by the port it came in by
)

// CountedBy is the place that counted: a packet that one drops does not reach the others.
type CountedBy string

// The places.
const (
	CountedByNFTables  CountedBy = "nftables"
	CountedByIPTables  CountedBy = "iptables"
	CountedByIP6Tables CountedBy = "ip6tables"
)
