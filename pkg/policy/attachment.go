// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"net/netip"
)

// Attachment is one interface of one container on one network: what a CNI ADD adds
// and a DEL deletes.
type Attachment struct {
	Network     string // name of the conflist
	ContainerID string // CNI_CONTAINERID
	IfName      string // CNI_IFNAME, inside the container

	Bridge string // bridge on the host; empty if the network has none
	Unseen bool   // the host had no interface of that name when this was attached
	Port   string // host end of the container's veth; empty if unknown

	// Interfaces are the other interfaces of the host by which it routes to the
	// addresses: a VLAN's gateway on the bridge, the VRF of the bridge, the host end
	// where there is no bridge. Sorted.
	Interfaces []string

	// The kernel's numbers of the bridge and of the port, which outlive a change of
	// name; 0 if unknown.
	BridgeIndex, PortIndex int

	Addresses []netip.Prefix // the container's, /32 or /128: they are forwarded

	// IsolatedIn has the families to isolate in if there are no Addresses; empty
	// stands for both.
	IsolatedIn Families

	IngressPolicy  IngressPolicy
	PublishedPorts PublishedPorts

	// Milder has the less strict policies that other entries of the same conflist
	// name. Sorted.
	Milder []IngressPolicy

	Backend    Backend // configured, or chosen by its ADD
	AdminChain string  // chain of the operator's
	Zone       string  // firewalld zone
}

// IsStandalone reports whether the attachment is one of the plugin called as
// "isolation", which forwards nothing and so needs no chain of the operator's.
func (a Attachment) IsStandalone() bool { return a.AdminChain == "" }

// Inbound returns the interfaces of the host by which the container's packets come
// in: those of its network. Packets with its addresses that come in by others are
// forged.
func (a Attachment) Inbound() []string {
	if a.Bridge == "" {
		return a.Interfaces
	}
	return append([]string{a.Bridge}, a.Interfaces...)
}

// FamilyOf returns the family of a prefix.
func FamilyOf(p netip.Prefix) Family {
	if p.Addr().Is4() {
		return IPv4
	}
	return IPv6
}

// Families returns the families in which the attachment needs rules: those of its
// addresses. An isolated container without addresses could configure one itself. So
// it is isolated in both families, unless IsolatedIn names one.
func (a Attachment) Families() Families {
	var s Families
	for _, p := range a.Addresses {
		s = s.With(FamilyOf(p))
	}
	if s == 0 && a.IngressPolicy.Isolates() {
		return cmp.Or(a.IsolatedIn, BothFamilies)
	}
	return s
}
