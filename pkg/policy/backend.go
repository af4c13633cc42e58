// SPDX-License-Identifier: Apache-2.0

package policy

// Backend says where the rules of a network go, as conflists and records name it.
type Backend string

// The backends.
const (
	IPTables  Backend = "iptables"
	NFTables  Backend = "nftables"
	Firewalld Backend = "firewalld"
)

// Backends lists the values a user may write.
var Backends = []Backend{Firewalld, IPTables, NFTables}

// DriverName names a Driver.
type DriverName string

// The drivers.
const (
	Filter DriverName = "iptables"  // the filter tables of iptables and ip6tables
	Table  DriverName = "nftables"  // the table inet cni_firewall
	Zones  DriverName = "firewalld" // sources of firewalld's zones
)

// Drivers returns the drivers that hold the rules of a backend; the first one
// isolates. A firewalld reload drops what firewalld was told, so that its backend
// has everything in the table as well. The record of another version may name a
// backend that this one lacks: no driver has its name.
func (b Backend) Drivers() []DriverName {
	if b == Firewalld {
		return []DriverName{Table, Zones}
	}
	return []DriverName{DriverName(b)}
}

// Opens reports whether the driver only accepts traffic, and isolates nothing.
func (n DriverName) Opens() bool { return n == Zones }
