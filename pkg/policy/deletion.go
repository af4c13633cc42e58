// SPDX-License-Identifier: Apache-2.0

package policy

// Deletion is rules that go from a chain of the filter table of iptables-nft.
type Deletion struct {
	Family Family
	Chain  string
	Places []int // of the rules, from 0
	Of     int   // how many rules the chain has
	Whole  bool  // the chain goes, too
}
