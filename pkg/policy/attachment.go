// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
)

// Attachment is one interface of one container on one network: what a CNI ADD adds
// and a DEL deletes.
type Attachment struct {
	Network     string // name of the conflist
	ContainerID string // CNI_CONTAINERID
	IfName      string // CNI_IFNAME, inside the container

	// ContainerKey stands for ContainerID where only a record's name was read.
	ContainerKey string

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

	// Stated has the policies that the entries of the conflist name, in the order of
	// IngressPolicies, if there is more than one entry.
	Stated []IngressPolicy

	Backend    Backend // configured, or chosen by its ADD
	AdminChain string  // chain of the operator's
	Zone       string  // firewalld zone

	Sources Sources // where these values come from
}

// IsStandalone reports whether the attachment is one of the plugin called as
// "isolation", which forwards nothing and so needs no chain of the operator's.
func (a Attachment) IsStandalone() bool { return a.AdminChain == "" }

// AddUp makes what two entries of one conflist say of an attachment one: the stricter
// holds.
func (a *Attachment) AddUp(other Attachment) {
	if a.IngressPolicy == other.IngressPolicy && a.PublishedPorts == other.PublishedPorts && len(other.Stated) == 0 {
		return
	}
	own := *a
	rank := func(p IngressPolicy) int { return slices.Index(IngressPolicies, p) }
	a.Stated = sortUnique(slices.Concat(a.stated(), other.stated()),
		func(p, q IngressPolicy) int { return cmp.Compare(rank(p), rank(q)) })
	a.IngressPolicy = a.IngressPolicy.With(other.IngressPolicy)
	if other.PublishedPorts == Deny {
		a.PublishedPorts = Deny
	}
	a.Sources = own.addedUp(other, *a)
}

// addedUp returns where the values come from that two attachments add up to.
func (a Attachment) addedUp(other, sum Attachment) Sources {
	all := a.Sources
	if sum.IngressPolicy == other.IngressPolicy && sum.IngressPolicy != a.IngressPolicy {
		all = all.Like(other.Sources, KeyIngressPolicy)
	} else if sum.IngressPolicy != a.IngressPolicy {
		all = all.Like(a.Sources.With(other.Sources), KeyIngressPolicy)
	}
	if sum.PublishedPorts != a.PublishedPorts {
		all = all.Like(other.Sources, KeyPublishedPorts)
	}
	return all
}

func (a Attachment) stated() []IngressPolicy {
	if len(a.Stated) > 0 {
		return a.Stated
	}
	return []IngressPolicy{a.IngressPolicy}
}

// ContainerKey identifies a container, in few bytes.
func ContainerKey(containerID string) string {
	digest := sha256.Sum256([]byte(containerID))
	return hex.EncodeToString(digest[:6])
}

// container identifies the container of an attachment.
func (a Attachment) container() string {
	if a.ContainerID == "" {
		return a.ContainerKey
	}
	return ContainerKey(a.ContainerID)
}

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
