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

// element is an element of a set, and whether the set must have it.
type element struct {
	set, key string // key as the kernel compares it
	present  bool
	owner    policy.Owner // for the reader of the table; of a bridge only the network
}

// elementKey identifies an element.
type elementKey struct{ set, key string }

func (e element) id() elementKey { return elementKey{e.set, e.key} }

// desiredElements returns the elements of a rule set's bridges and addresses:
// those that must be present, and those that must be absent.
func desiredElements(rs policy.RuleSet) []element {
	all := addressElements(rs, true)
	for _, b := range rs.Bridges {
		all = append(all, bridgeElements(b)...)
	}
	return all
}

// absentElements returns all elements that a rule set's bridges and addresses can
// have, as absent.
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

// isolatingElements returns the elements of all bridges, except some, that block
// traffic by being present or absent.
func isolatingElements(bridges []policy.Bridge, except []string) []element {
	all := make([]element, 0, len(bridges))
	for _, b := range bridges {
		if !slices.Contains(except, b.Name) {
			all = appendIsolating(all, b)
		}
	}
	return all
}

func appendIsolating(all []element, b policy.Bridge) []element {
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
	return all
}

func addressElements(rs policy.RuleSet, present bool) []element {
	var all []element
	for _, p := range rs.Addresses {
		all = append(all, element{addressSet(p), string(p.Addr().AsSlice()), present, rs.Owners[p]})
	}
	return all
}

func addressSet(p netip.Prefix) string {
	if policy.FamilyOf(p) == policy.IPv4 {
		return setIPv4
	}
	return setIPv6
}

// interfaceKey pads the name of an interface with zeroes: the kernel compares
// IFNAMSIZ bytes.
func interfaceKey(name string) string { return (name + zeroes)[:unix.IFNAMSIZ] }

var zeroes = strings.Repeat("\x00", unix.IFNAMSIZ)

// String returns the element as nft prints it.
func (e element) String() string {
	if addr, ok := netip.AddrFromSlice([]byte(e.key)); ok && (e.set == setIPv4 || e.set == setIPv6) {
		return addr.String()
	}
	var names []string
	for key := e.key; len(key) >= unix.IFNAMSIZ; key = key[unix.IFNAMSIZ:] {
		names = append(names, `"`+strings.TrimRight(key[:unix.IFNAMSIZ], "\x00")+`"`)
	}
	return strings.Join(names, " . ")
}

func (e element) create() request {
	return e.request(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, e.encodeWithComment())
}

func (e element) delete() request { return e.request(unix.NFT_MSG_DELSETELEM, 0, e.encode()) }

func (e element) get() request { return e.request(unix.NFT_MSG_GETSETELEM, 0, e.encode()) }

func (e element) request(kind, flags int, encoded []byte) request {
	object := "element " + e.set + " " + e.String()
	return request{kind: kind, flags: flags, attrs: elementList(e.set, encoded), object: object}
}

// encode returns the element as an entry of a message's list.
func (e element) encode() []byte { return attrNested(unix.NFTA_LIST_ELEM, e.encodeKey()) }

func (e element) encodeWithComment() []byte {
	text := e.comment()
	if text == "" {
		return e.encode()
	}
	data := userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, text)
	return attrNested(unix.NFTA_LIST_ELEM, e.encodeKey(), attr(unix.NFTA_SET_ELEM_USERDATA, data))
}

func (e element) encodeKey() []byte {
	return attrNested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(e.key)))
}

// maxComment is the number of bytes that nft reads of a comment
// (NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero).
const maxComment = 127

// comment names the owner, in characters that nft prints between quotes and can
// read again.
func (e element) comment() string {
	text := strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, strings.TrimSpace(e.owner.Network+" "+e.owner.ContainerID+" "+e.owner.IfName))
	return text[:min(len(text), maxComment)]
}

// elementList returns the attributes of a message about elements of a set; with
// no elements, about all.
func elementList(set string, elements ...[]byte) []byte {
	attrs := slices.Concat(
		attrString(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), attrString(unix.NFTA_SET_ELEM_LIST_SET, set))
	if len(elements) > 0 {
		attrs = append(attrs, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)...)
	}
	return attrs
}
