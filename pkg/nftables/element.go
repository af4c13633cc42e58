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
	text     string // and as nft prints it
	comment  string
	in       bool
}

// members returns what the sets must hold, and what they must not, of the
// bridges and addresses of a rule set.
func members(rs policy.RuleSet) []member {
	var all []member
	for _, b := range rs.Bridges {
		all = append(all, membersOf(b, b.IngressPolicy.Isolates(), b.IngressPolicy == policy.Isolated, b.PublishedPorts == policy.Allow)...)
	}
	return append(all, containers(rs, true)...)
}

// absent returns members that none of a rule set's bridges and addresses is.
func absent(rs policy.RuleSet) []member {
	var all []member
	for _, b := range rs.Bridges {
		all = append(all, membersOf(b, false, false, false)...)
	}
	return append(all, containers(rs, false)...)
}

func membersOf(b policy.Bridge, isolated, blockedWithin, published bool) []member {
	name := string(append([]byte(b.Name), make([]byte, unix.IFNAMSIZ-len(b.Name))...))
	text, comment := `"`+b.Name+`"`, comment(b.Network)
	pair, pairText := name+name, text+" . "+text
	return []member{
		{setIsolated, name, text, comment, isolated},
		{setSameBridge, pair, pairText, comment, isolated},
		{setBlockedWithin, pair, pairText, comment, blockedWithin},
		{setPublished, name, text, comment, published},
	}
}

func containers(rs policy.RuleSet, in bool) []member {
	var all []member
	for _, p := range rs.Addresses {
		o := rs.Owners[p]
		all = append(all, member{setOf(p), string(p.Addr().AsSlice()), p.Addr().String(), comment(o.Network, o.ContainerID, o.IfName), in})
	}
	return all
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

// comment joins words for who lists the table. nft prints it between quotes, and
// reads what it printed.
func comment(words ...string) string {
	text := strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, strings.TrimSpace(strings.Join(words, " ")))
	return text[:min(len(text), maxComment)]
}

// encode returns the element as a list of them has it.
func (m member) encode(withComment bool) []byte {
	key := attrNested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(m.key)))
	if !withComment || m.comment == "" {
		return attrNested(unix.NFTA_LIST_ELEM, key)
	}
	data := userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, m.comment)
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
	bySet := map[string][]member{}
	for _, m := range all {
		if s := t.sets[m.set]; s != nil && !s.knows(m.key) {
			bySet[m.set] = append(bySet[m.set], m)
		}
	}
	var single []member
	for name, wanted := range bySet {
		if len(wanted) <= few {
			single = append(single, wanted...)
		} else if err := c.list(t, name); err != nil {
			return err
		}
	}
	return c.findEach(t, single)
}

func (s *set) knows(key string) bool {
	_, known := s.elements[key]
	return known || s.complete
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
