// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

type set struct {
	keyType, keyLength, flags uint32
	marked                    bool
	elements                  map[string]bool // by key; those that were asked for, true if they are there
	listed                    bool            // all were
}

// nftSetConcat is NFT_SET_CONCAT, which a kernel may show of a pair.
const nftSetConcat = 0x80

func (l setLayout) isCompatible(s *set) bool {
	return s.keyType == l.keyType && s.keyLength == l.keyLength && s.flags&^nftSetConcat == 0
}

func (l setLayout) create() request {
	attrs := append(attrString(unix.NFTA_SET_TABLE, tableName), attrString(unix.NFTA_SET_NAME, l.name)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_KEY_TYPE, l.keyType)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_KEY_LEN, l.keyLength)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_ID, uint32(1+slices.Index(sets, l)))...)
	var data []byte
	if l.byteOrder != 0 {
		data = userdata.AppendUint32(data, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, l.byteOrder)
	}
	data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_COMMENT, mark+": "+l.comment)
	attrs = append(attrs, attr(unix.NFTA_SET_USERDATA, data)...)
	return request{kind: unix.NFT_MSG_NEWSET, flags: unix.NLM_F_CREATE, attrs: attrs, object: "set " + l.name}
}

func deleteSet(name string) request {
	return deleteRequest(unix.NFT_MSG_DELSET, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, name, "set "+name)
}

func deleteRequest(kind, tableAttr, nameAttr int, name, what string) request {
	return request{kind: kind, attrs: append(attrString(tableAttr, tableName), attrString(nameAttr, name)...), object: what}
}

func (t *table) parseSet(a reply) error {
	s := &set{elements: map[string]bool{}}
	var name string
	err := eachAttr(a.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_SET_NAME:
			name = parseString(value)
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = parseUint32(value)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLength = parseUint32(value)
		case unix.NFTA_SET_FLAGS:
			s.flags = parseUint32(value)
		case unix.NFTA_SET_USERDATA:
			s.marked = isMarked(value)
		}
		return nil
	})
	if !strings.HasPrefix(name, "__") { // the anonymous sets of an operator's rules
		t.sets[name] = s
	}
	t.marked = t.marked || s.marked
	return err
}

// lookUp asks which of the members are there, of those that are not known yet. A
// few are asked for one by one; of more, all of their set is listed, which costs
// a third as much an element.
func (c *conn) lookUp(t *table, all []element) error {
	const few = 16
	unknown := map[string]int{} // by set
	for _, m := range all {
		if t.isUnread(m) {
			unknown[m.set]++
		}
	}
	for name, n := range unknown {
		if n <= few {
			continue
		}
		if err := c.listSet(t, name); err != nil {
			return err
		}
	}
	var single []element
	for _, m := range all {
		if t.isUnread(m) {
			single = append(single, m)
		}
	}
	return c.lookUpEach(t, single)
}

// isUnread reports whether a member's set is there and was not asked for it.
func (t *table) isUnread(m element) bool {
	s := t.sets[m.set]
	if s == nil || s.listed {
		return false
	}
	_, known := s.elements[m.key]
	return !known
}

func (c *conn) lookUpEach(t *table, all []element) error {
	if len(all) == 0 {
		return nil
	}
	requests := make([]request, len(all))
	for i, m := range all {
		t.sets[m.set].elements[m.key] = false
		requests[i] = request{kind: unix.NFT_MSG_GETSETELEM, attrs: elementList(m.set, m.encode(false))}
	}
	return c.query(func(a reply) error { return t.parseElements(t.sets[all[a.index].set], a) }, requests...)
}

// listSet reads all elements of a set.
func (c *conn) listSet(t *table, name string) error {
	s := t.sets[name]
	if s == nil || s.listed {
		return nil
	}
	err := errInterrupted
	for n := 0; n < maxAttempts && errors.Is(err, errInterrupted); n++ {
		s.elements = map[string]bool{}
		err = c.query(func(a reply) error { return t.parseElements(s, a) },
			request{kind: unix.NFT_MSG_GETSETELEM, flags: unix.NLM_F_DUMP, attrs: elementList(name)})
	}
	s.listed = err == nil
	return err
}

func (t *table) parseElements(s *set, a reply) error {
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
func (t *table) has(m element) bool {
	s := t.sets[m.set]
	return s != nil && s.elements[m.key]
}
