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

// element is an element of a set, and whether the set must have it. A rule of
// chainForged is one, too: the name of the chain stands for a set; see forgedRule for
// the key.
type element struct {
	set, key string // key as the kernel compares it
	present  bool
	owner    policy.Owner // for the reader of the table; of a bridge only the network
}

// elementKey identifies an element.
type elementKey struct{ set, key string }

func (e element) id() elementKey { return elementKey{e.set, e.key} }

// isForged reports whether the element is a rule of chainForged.
func (e element) isForged() bool { return e.set == chainForged }

// interfaceKey pads the name of an interface with zeroes: the kernel compares
// IFNAMSIZ bytes.
func interfaceKey(name string) string { return (name + zeroes)[:unix.IFNAMSIZ] }

// interfaceName returns the name that a key begins with; of an empty key, an empty one.
func interfaceName(key string) string {
	return strings.TrimRight(key[:min(unix.IFNAMSIZ, len(key))], "\x00")
}

var zeroes = strings.Repeat("\x00", unix.IFNAMSIZ)

func addressKey(p netip.Prefix) string { return string(p.Addr().AsSlice()) }

// String returns the element as nft prints it.
func (e element) String() string {
	key, words := e.key, []string(nil)
	for range e.names() {
		words = append(words, `"`+interfaceName(key)+`"`)
		key = key[unix.IFNAMSIZ:]
	}
	if addr, ok := netip.AddrFromSlice([]byte(key)); ok {
		words = append(words, addr.String())
	}
	return strings.Join(words, " . ")
}

// where returns what the element is in, for messages.
func (e element) where() string {
	if e.isForged() {
		return "chain " + e.set
	}
	return "set " + e.set
}

// names returns how many names of interfaces the key begins with.
func (e element) names() int {
	switch e.set {
	case setGuardedIPv4, setGuardedIPv6:
		return 0
	case setSameBridge, setBlockedWithin, chainForged, setDropped:
		return min(2, len(e.key)/unix.IFNAMSIZ)
	}
	return min(1, len(e.key)/unix.IFNAMSIZ)
}

func (e element) create() (request, error) {
	if e.isForged() {
		return forgedRule(e.key).create(chainForged)
	}
	return e.request(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, e.encodeWithComment()), nil
}

func (e element) delete() request { return e.request(unix.NFT_MSG_DELSETELEM, 0, e.encode()) }

func (e element) get() request { return e.request(unix.NFT_MSG_GETSETELEM, 0, e.encode()) }

func (e element) request(kind, flags int, encoded []byte) request {
	object := "element " + e.set + " " + e.String()
	return request{kind: kind, flags: flags, attrs: elementList(tableName, e.set, encoded), object: object}
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

// dumpElements asks for the elements of a set of any table.
func dumpElements(family byte, table, set string) request {
	return request{kind: unix.NFT_MSG_GETSETELEM, flags: unix.NLM_F_DUMP, family: family, attrs: elementList(table, set)}
}

// elementList returns the attributes of a message about elements of a set; with
// no elements, about all.
func elementList(table, set string, elements ...[]byte) []byte {
	attrs := slices.Concat(
		attrString(unix.NFTA_SET_ELEM_LIST_TABLE, table), attrString(unix.NFTA_SET_ELEM_LIST_SET, set))
	if len(elements) > 0 {
		attrs = append(attrs, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)...)
	}
	return attrs
}
