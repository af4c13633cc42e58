// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// element says whether something is an element of a set.
type element struct {
	set, key string // the key as the kernel has it
	present  bool
	owner    policy.Owner // for who lists the table; of a bridge just the network
}

// desiredElements returns what the sets must hold, and what they must not, of the
// bridges and addresses of a rule set.
func desiredElements(rs policy.RuleSet) []element {
	all := addressElements(rs, true)
	for _, b := range rs.Bridges {
		all = append(all, bridgeElements(b)...)
	}
	return all
}

// absentElements returns members that none of a rule set's bridges and addresses is.
func absentElements(rs policy.RuleSet) []element {
	all := addressElements(rs, false)
	for _, b := range rs.Bridges {
		b.IngressPolicy, b.PublishedPorts = policy.Open, policy.Deny
		all = append(all, bridgeElements(b)...)
	}
	return all
}

func bridgeElements(b policy.Bridge) []element {
	name, owner := interfaceKey(b.Name), policy.Owner{Network: b.Network}
	return []element{
		{setIsolated, name, b.IngressPolicy.Isolates(), owner},
		{setSameBridge, name + name, b.IngressPolicy.Isolates(), owner},
		{setBlockedWithin, name + name, b.IngressPolicy == policy.Isolated, owner},
		{setPublished, name, b.PublishedPorts == policy.Allow, owner},
	}
}

// isolatingElements returns those members of all bridges but some whose lack, or surplus,
// opens what must be closed.
func isolatingElements(bridges []policy.Bridge, but []string) []element {
	all := make([]element, 0, len(bridges))
	for _, b := range bridges {
		if slices.Contains(but, b.Name) {
			continue
		}
		name, owner := interfaceKey(b.Name), policy.Owner{Network: b.Network}
		if b.IngressPolicy.Isolates() {
			all = append(all, element{setIsolated, name, true, owner})
		}
		if b.IngressPolicy == policy.Isolated {
			all = append(all, element{setBlockedWithin, name + name, true, owner})
		}
		if b.PublishedPorts == policy.Deny {
			all = append(all, element{setPublished, name, false, owner})
		}
	}
	return all
}

func addressElements(rs policy.RuleSet, in bool) []element {
	var all []element
	for _, p := range rs.Addresses {
		all = append(all, element{addressSet(p), string(p.Addr().AsSlice()), in, rs.Owners[p]})
	}
	return all
}

func addressSet(p netip.Prefix) string {
	if policy.FamilyOf(p) == policy.IPv4 {
		return setIPv4
	}
	return setIPv6
}

// interfaceKey pads an interface's name as the kernel compares it.
func interfaceKey(name string) string { return (name + zeroes)[:unix.IFNAMSIZ] }

var zeroes = strings.Repeat("\x00", unix.IFNAMSIZ)

// String returns the element as nft prints it.
func (m element) String() string {
	if addr, ok := netip.AddrFromSlice([]byte(m.key)); ok && (m.set == setIPv4 || m.set == setIPv6) {
		return addr.String()
	}
	var names []string
	for key := m.key; len(key) >= unix.IFNAMSIZ; key = key[unix.IFNAMSIZ:] {
		names = append(names, `"`+strings.TrimRight(key[:unix.IFNAMSIZ], "\x00")+`"`)
	}
	return strings.Join(names, " . ")
}

func (m element) object() string { return "element " + m.set + " " + m.String() }

// maxComment is the number of bytes that nft reads of one
// (NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero).
const maxComment = 127

// comment names the owner. nft prints it between quotes, and reads what it
// printed.
func (m element) comment() string {
	text := strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, strings.TrimSpace(m.owner.Network+" "+m.owner.ContainerID+" "+m.owner.IfName))
	return text[:min(len(text), maxComment)]
}

// encode returns the element as a list of them has it.
func (m element) encode(withComment bool) []byte {
	key := attrNested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(m.key)))
	if !withComment || m.comment() == "" {
		return attrNested(unix.NFTA_LIST_ELEM, key)
	}
	data := userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, m.comment())
	return attrNested(unix.NFTA_LIST_ELEM, key, attr(unix.NFTA_SET_ELEM_USERDATA, data))
}

// elementList returns the attributes of a message about elements of a set.
func elementList(name string, elements ...[]byte) []byte {
	attrs := append(attrString(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), attrString(unix.NFTA_SET_ELEM_LIST_SET, name)...)
	if len(elements) > 0 {
		attrs = append(attrs, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)...)
	}
	return attrs
}
