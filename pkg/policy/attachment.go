// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"net/netip"
)

// Attachment is one interface of one container on one network: the unit that
// CNI adds and deletes.
type Attachment struct {
	Network     string // name of the conflist
	ContainerID string // CNI_CONTAINERID
	IfName      string // CNI_IFNAME, inside the container

	Bridge string // bridge on the host; empty where the network has none
	Unseen bool   // the host had no link of that name when it was attached
	Port   string // host's end of the container's veth; empty where unknown

	Addresses []netip.Prefix // the container's own, /32 or /128: what is forwarded

	// IsolatedIn are the families to isolate in where nothing is forwarded; none
	// for both.
	IsolatedIn Families

	IngressPolicy  IngressPolicy
	PublishedPorts PublishedPorts

	Backend    Backend // that its ADD chose
	AdminChain string  // iptables chain of the operator's
	Zone       string  // firewalld zone
}

// IsStandalone reports whether the attachment is one of the plugin called as
// "isolation", which forwards nothing and so needs no chain of the operator's.
func (a Attachment) IsStandalone() bool { return a.AdminChain == "" }

// FamilyOf returns the family of a prefix.
func FamilyOf(p netip.Prefix) Family {
	if p.Addr().Is4() {
		return IPv4
	}
	return IPv6
}

// Families returns the families in which the attachment needs rules: those of
// its addresses. An isolated container without an address of its own is
// isolated in both, for it may give itself one, unless it says otherwise.
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
