// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// member says whether something is an element of a set.
type member struct {
	set, key string // the key as the kernel has it
	in       bool
	owner    policy.Owner // for who lists the table; of a bridge just the network
}

// members returns what the sets must hold, and what they must not, of the
// bridges and addresses of a rule set.
func members(rs policy.RuleSet) []member {
	all := containers(rs, true)
	for _, b := range rs.Bridges {
		all = append(all, membersOf(b)...)
	}
	return all
}

// absent returns members that none of a rule set's bridges and addresses is.
func absent(rs policy.RuleSet) []member {
	all := containers(rs, false)
	for _, b := range rs.Bridges {
		b.IngressPolicy, b.PublishedPorts = policy.Open, policy.Deny
		all = append(all, membersOf(b)...)
	}
	return all
}

func membersOf(b policy.Bridge) []member {
	name, owner := nameKey(b.Name), policy.Owner{Network: b.Network}
	return []member{
		{setIsolated, name, b.IngressPolicy.Isolates(), owner},
		{setSameBridge, name + name, b.IngressPolicy.Isolates(), owner},
		{setBlockedWithin, name + name, b.IngressPolicy == policy.Isolated, owner},
		{setPublished, name, b.PublishedPorts == policy.Allow, owner},
	}
}

// closing returns those members of all bridges but one whose lack, or surplus,
// opens what must be closed.
func closing(bridges []policy.Bridge, but string) []member {
	all := make([]member, 0, len(bridges))
	for _, b := range bridges {
		if b.Name == but {
			continue
		}
		name, owner := nameKey(b.Name), policy.Owner{Network: b.Network}
		if b.IngressPolicy.Isolates() {
			all = append(all, member{setIsolated, name, true, owner})
		}
		if b.IngressPolicy == policy.Isolated {
			all = append(all, member{setBlockedWithin, name + name, true, owner})
		}
		if b.PublishedPorts == policy.Deny {
			all = append(all, member{setPublished, name, false, owner})
		}
	}
	return all
}

// nameKey pads an interface's name as the kernel compares it.
func nameKey(name string) string { return (name + zeroes)[:unix.IFNAMSIZ] }

var zeroes = strings.Repeat("\x00", unix.IFNAMSIZ)

func containers(rs policy.RuleSet, in bool) []member {
	var all []member
	for _, p := range rs.Addresses {
		all = append(all, member{setOf(p), string(p.Addr().AsSlice()), in, rs.Owners[p]})
	}
	return all
}

// String returns the element as nft prints it.
func (m member) String() string {
	if addr, ok := netip.AddrFromSlice([]byte(m.key)); ok && (m.set == setIPv4 || m.set == setIPv6) {
		return addr.String()
	}
	var names []string
	for key := m.key; len(key) >= unix.IFNAMSIZ; key = key[unix.IFNAMSIZ:] {
		names = append(names, `"`+strings.TrimRight(key[:unix.IFNAMSIZ], "\x00")+`"`)
	}
	return strings.Join(names, " . ")
}

func setOf(p netip.Prefix) string {
	if policy.FamilyOf(p) == policy.IPv4 {
		return setIPv4
	}
	return setIPv6
}

// maxComment is the number of bytes that nft reads of one
// (NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero).
const maxComment = 127

// comment names the owner. nft prints it between quotes, and reads what it
// printed.
func (m member) comment() string {
	text := strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, strings.TrimSpace(m.owner.Network+" "+m.owner.ContainerID+" "+m.owner.IfName))
	return text[:min(len(text), maxComment)]
}

// encode returns the element as a list of them has it.
func (m member) encode(withComment bool) []byte {
	key := attrNested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(m.key)))
	if !withComment || m.comment() == "" {
		return attrNested(unix.NFTA_LIST_ELEM, key)
	}
	data := userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, m.comment())
	return attrNested(unix.NFTA_LIST_ELEM, key, attr(unix.NFTA_SET_ELEM_USERDATA, data))
}

// inSet returns the attributes of a message about elements of a set.
func inSet(name string, elements ...[]byte) []byte {
	attrs := append(attrString(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), attrString(unix.NFTA_SET_ELEM_LIST_SET, name)...)
	if len(elements) > 0 {
		attrs = append(attrs, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)...)
	}
	return attrs
}

// find asks which of the members are there, of those that are not known yet. A
// few are asked for one by one; of more, all of their set is listed, which costs
// a third as much an element.
func (c *conn) find(t *table, all []member) error {
	const few = 16
	unknown := map[string]int{} // by set
	for _, m := range all {
		if t.isUnknown(m) {
			unknown[m.set]++
		}
	}
	for name, n := range unknown {
		if n <= few {
			continue
		}
		if err := c.list(t, name); err != nil {
			return err
		}
	}
	var single []member
	for _, m := range all {
		if t.isUnknown(m) {
			single = append(single, m)
		}
	}
	return c.findEach(t, single)
}

// isUnknown reports whether a member's set is there and was not asked for it.
func (t *table) isUnknown(m member) bool {
	s := t.sets[m.set]
	if s == nil || s.complete {
		return false
	}
	_, known := s.elements[m.key]
	return !known
}

func (c *conn) findEach(t *table, all []member) error {
	if len(all) == 0 {
		return nil
	}
	requests := make([]request, len(all))
	for i, m := range all {
		t.sets[m.set].elements[m.key] = false
		requests[i] = request{kind: unix.NFT_MSG_GETSETELEM, attrs: inSet(m.set, m.encode(false))}
	}
	return c.ask(func(a answer) error { return t.readElements(t.sets[all[a.request].set], a) }, requests...)
}

// list reads all elements of a set.
func (c *conn) list(t *table, name string) error {
	s := t.sets[name]
	if s == nil || s.complete {
		return nil
	}
	err := c.ask(func(a answer) error { return t.readElements(s, a) },
		request{kind: unix.NFT_MSG_GETSETELEM, flags: unix.NLM_F_DUMP, attrs: inSet(name)})
	s.complete = err == nil
	return err
}

func (t *table) readElements(s *set, a answer) error {
	return eachAttr(a.attrs, func(kind int, list []byte) error {
		if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return nil
		}
		return eachAttr(list, func(_ int, element []byte) error {
			return eachAttr(element, func(kind int, value []byte) error {
				if kind != unix.NFTA_SET_ELEM_KEY {
					return nil
				}
				return eachAttr(value, func(_ int, key []byte) error {
					s.elements[string(key)] = true
					return nil
				})
			})
		})
	})
}

// has reports whether a member is there; its set must have been asked for it.
func (t *table) has(m member) bool {
	s := t.sets[m.set]
	return s != nil && s.elements[m.key]
}
