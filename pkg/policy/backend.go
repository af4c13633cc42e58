// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

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

// Drivers returns the drivers that hold the rules of a backend, in the order in which
// they close. The record of another version may name a backend that this one lacks:
// no driver has its name.
//
// Every backend isolates in the table, which nothing else on the host flushes or
// overtakes: a drop there holds whatever another table accepts. A backend says where
// forwarding is said. iptables isolates as well, in upstream's words, for upstream's
// plugin to find.
func (b Backend) Drivers() []DriverName {
	switch b {
	case IPTables:
		return []DriverName{Table, Filter}
	case NFTables:
		return []DriverName{Table}
	case Firewalld:
		return []DriverName{Table, Zones}
	}
	return []DriverName{DriverName(b)}
}

// AcceptsIn reports whether a backend accepts its containers' addresses in a driver.
// For iptables the table only isolates: so a DEL deletes nothing there, and waits for
// nothing, as long as its bridge has other containers.
func (b Backend) AcceptsIn(n DriverName) bool {
	return slices.Contains(b.Drivers(), n) && (b != IPTables || n != Table)
}

// Needs reports whether a backend cannot do without one of its drivers. iptables runs
// on kernels without nf_tables, too.
func (b Backend) Needs(n DriverName) bool { return b.AcceptsIn(n) }

// Opens reports whether the driver only accepts traffic, and isolates nothing.
func (n DriverName) Opens() bool { return n == Zones }
