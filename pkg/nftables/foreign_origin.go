// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// origin is where new connections of a container come from: the interfaces of its network,
// and an address.
type origin struct {
	interfaces []string
	address    netip.Addr
}

// originsOf returns the origins of the addresses of a rule set.
func originsOf(rs policy.RuleSet) []origin {
	var all []origin
	for _, p := range rs.Addresses {
		all = append(all, origin{rs.Inbound[p], p.Addr()})
	}
	return all
}

// name returns the bridge, or the first interface of a network without one.
func (o origin) name() string {
	if len(o.interfaces) == 0 {
		return ""
	}
	return o.interfaces[0]
}

// isSeenBy reports whether packets of the origin pass the chains of a family.
func (o origin) isSeenBy(family byte) bool {
	return family == unix.NFPROTO_INET || o.address.Is4() == (family == unix.NFPROTO_IPV4)
}

// condition is what a rule wants of the interface that a packet came in by, or of its
// source address.
type condition struct {
	address bool
	is6     bool
	mask    []byte
	value   []byte // of an interface, the name, without a zero at the end where it is a prefix
	set     string // which has interfaces; in the place of a value
}

// Where the source addresses are in the headers, in bytes.
const (
	sourceIPv4At = 12
	sourceIPv6At = 8
)

// loadMeta and loadPayload note what a rule looks at next.
func (r *foreignRule) loadMeta(m *expr.Meta) {
	r.loaded = nil
	if m.Key == expr.MetaKeyIIFNAME && !m.SourceRegister {
		r.loaded = &condition{}
	}
}

func (r *foreignRule) loadPayload(p *expr.Payload) {
	r.loaded = nil
	isIPv6 := p.Offset == sourceIPv6At && p.Len > 2 // else it is the TTL of IPv4, with the protocol
	if p.Base == expr.PayloadBaseNetworkHeader && (isIPv6 || p.Offset == sourceIPv4At && p.Len <= 4) {
		r.loaded = &condition{address: true, is6: isIPv6}
	}
}

// compare ends a condition, or notes that the rule has one that is not known.
func (r *foreignRule) compare(equal bool, value []byte, set string) {
	c := r.loaded
	r.loaded = nil
	if c == nil || !equal || c.address && set != "" {
		r.hasOther = true
		return
	}
	c.value, c.set = value, set
	r.from = append(r.from, *c)
}

// isFrom reports whether packets of an origin meet what a rule wants of the interface
// and of the source, and it wants something.
func (t *foreignTable) isFrom(o origin, r foreignRule) bool {
	return len(r.from) > 0 && !slices.ContainsFunc(r.from, func(c condition) bool { return !t.meets(o, c) })
}

func (t *foreignTable) meets(o origin, c condition) bool {
	if c.address {
		return o.address.Is4() != c.is6 && c.matches(o.address.AsSlice())
	}
	if len(o.interfaces) == 0 {
		return false
	}
	if c.set != "" {
		names := t.keys(c.set)
		return !slices.ContainsFunc(o.interfaces, func(name string) bool { return !names[name] })
	}
	return !slices.ContainsFunc(o.interfaces, func(name string) bool {
		return !bytes.HasPrefix(append([]byte(name), make([]byte, unix.IFNAMSIZ)...), c.value)
	})
}

// matches reports whether an address begins with the value, under the mask.
func (c condition) matches(address []byte) bool {
	if len(c.value) > len(address) {
		return false
	}
	for i, want := range c.value {
		got := address[i]
		if i < len(c.mask) {
			got &= c.mask[i]
		}
		if got != want {
			return false
		}
	}
	return true
}
