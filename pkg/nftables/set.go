// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// set is a set as the kernel has it.
type set struct {
	name                      string
	keyType, keyLength, flags uint32
	marked                    bool
	elements                  map[string]bool // by key; whether an element is there that was looked up
	listed                    bool            // all elements are known
}

// nftSetConcat is NFT_SET_CONCAT. Some kernels show it on a set of pairs.
const nftSetConcat = 0x80

func (l setLayout) isCompatible(s *set) bool {
	return s.keyType == l.keyType && s.keyLength == l.keyLength && s.flags&^nftSetConcat == l.flags()
}

func (l setLayout) create(id int) request {
	var data []byte
	if l.byteOrder != 0 {
		// nft reads the host's byte order; AppendUint32 of the library writes little endian.
		data = userdata.Append(data, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, binary.NativeEndian.AppendUint32(nil, l.byteOrder))
	}
	data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_COMMENT, mark+": "+l.comment)
	attrs := slices.Concat(
		attrString(unix.NFTA_SET_TABLE, tableName), attrString(unix.NFTA_SET_NAME, l.name),
		attrUint32(unix.NFTA_SET_KEY_TYPE, l.keyType), attrUint32(unix.NFTA_SET_KEY_LEN, l.keyLength),
		attrUint32(unix.NFTA_SET_ID, uint32(id)),
		attr(unix.NFTA_SET_USERDATA, data))
	if l.counts {
		attrs = append(attrs, countingAttrs()...)
	}
	return request{kind: unix.NFT_MSG_NEWSET, flags: unix.NLM_F_CREATE, attrs: attrs, object: "set " + l.name}
}

func deleteSet(name string) request {
	attrs := slices.Concat(attrString(unix.NFTA_SET_TABLE, tableName), attrString(unix.NFTA_SET_NAME, name))
	return request{kind: unix.NFT_MSG_DELSET, attrs: attrs, object: "set " + name}
}

func (t *table) parseSet(r reply) error {
	s := &set{elements: map[string]bool{}}
	err := eachAttr(r.attrs, s.parseAttr)
	if !strings.HasPrefix(s.name, "__") { // an anonymous set of an operator's rule
		t.sets[s.name] = s
	}
	t.marked = t.marked || s.marked
	return err
}

func (s *set) parseAttr(kind int, value []byte) error {
	switch kind {
	case unix.NFTA_SET_NAME:
		s.name = parseString(value)
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
}

// many is the number of elements of a set, or of rules of chainForged, from which on a
// call reads them in another way.
const many = 16

// lookUp asks the kernel which elements are there, of those that are not yet
// known. If it asks for many of one set, it lists the set, which costs a third
// for each element.
func (c *conn) lookUp(t *table, elements []element) error {
	for set, unknown := range t.countUnknown(elements) {
		if unknown > many {
			if err := c.listSet(t, set); err != nil {
				return err
			}
		}
	}
	if t.needsForged(elements) {
		if err := c.listForged(t); err != nil {
			return err
		}
	}
	return c.lookUpEach(t, t.unknown(elements))
}

func (t *table) countUnknown(elements []element) map[string]int {
	bySet := map[string]int{}
	for _, e := range elements {
		if t.isUnknown(e) {
			bySet[e.set]++
		}
	}
	return bySet
}

func (t *table) unknown(elements []element) []element {
	var unknown []element
	for _, e := range elements {
		if t.isUnknown(e) {
			unknown = append(unknown, e)
		}
	}
	return unknown
}

// isUnknown reports whether an element was not looked up although its set exists.
func (t *table) isUnknown(e element) bool {
	s := t.sets[e.set] // rules of chainForged are always known
	if s == nil || s.listed {
		return false
	}
	_, known := s.elements[e.key]
	return !known
}

func (c *conn) lookUpEach(t *table, elements []element) error {
	if len(elements) == 0 {
		return nil
	}
	requests := make([]request, len(elements))
	for i, e := range elements {
		t.sets[e.set].elements[e.key] = false
		requests[i] = e.get()
		requests[i].family = t.family
	}
	return c.query(func(r reply) error { return t.sets[elements[r.index].set].parseElements(r) }, requests...)
}

// listSet reads all elements of a set.
func (c *conn) listSet(t *table, name string) error {
	s := t.sets[name]
	if s == nil || s.listed {
		return nil
	}
	err := c.dump(s.parseElements, dumpElements(t.family, tableName, name), func() { s.elements = map[string]bool{} })
	s.listed = err == nil
	return err
}

// dump sends a dump, again if another program changes tables meanwhile. Each time it
// calls begin first.
func (c *conn) dump(do func(reply) error, dump request, begin func()) error {
	err := errInterrupted
	for n := 0; n < maxAttempts && errors.Is(err, errInterrupted); n++ {
		begin()
		err = c.query(do, dump)
	}
	return err
}

func (s *set) parseElements(r reply) error {
	return eachElement(r.attrs, func(attrs []byte) error {
		return eachAttrOf(attrs, unix.NFTA_SET_ELEM_KEY, func(data []byte) error {
			return eachAttr(data, func(_ int, key []byte) error {
				s.elements[string(key)] = true
				return nil
			})
		})
	})
}

// eachElement calls do with the attributes of each element in a reply.
func eachElement(attrs []byte, do func(attrs []byte) error) error {
	return eachAttrOf(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list []byte) error {
		return eachAttr(list, func(_ int, attrs []byte) error { return do(attrs) })
	})
}

// has reports whether the table has an element, which must be known. As long as the
// rules of chainForged are unread, each isolated bridge has its own.
func (t *table) has(e element) bool {
	if e.isForged() && !t.forgedUnread {
		return len(t.forged()[e.key]) > 0
	}
	if e.isForged() {
		e.set, e.key = setIsolated, e.key[:unix.IFNAMSIZ]
	}
	s := t.sets[e.set]
	return s != nil && s.elements[e.key]
}

// differs reports whether an element is absent that must be present, or the
// other way round.
func (t *table) differs(e element) bool { return t.has(e) != e.present }

// count returns the number of known elements; of a set that does not exist, 0.
func (s *set) count() int {
	n := 0
	if s != nil {
		for _, there := range s.elements {
			if there {
				n++
			}
		}
	}
	return n
}
