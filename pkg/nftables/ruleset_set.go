// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// setID names a set of any table.
type setID struct {
	table foreignID
	name  string
}

// elementsOf is a set or a map of any table, and its elements, once they were read.
type elementsOf struct {
	isInterval bool
	fields     []int // lengths of the parts of its key, in bytes; nil for a key of one part
	isRead     bool
	elements   []anyElement
	err        error
}

// anyElement is an element of any set.
type anyElement struct {
	key, end   []byte // end is that of a range, in a set whose keys have several parts
	isEnd      bool   // it ends an interval
	isCatchAll bool
	data       []byte
	verdict    *expr.Verdict
}

// Flags and attributes of linux/netfilter/nf_tables.h.
const (
	setFlagInterval    = 0x4
	elemFlagEnd        = 0x1 // NFT_SET_ELEM_INTERVAL_END
	elemFlagCatchAll   = 0x2
	elemKeyEnd         = 10 // NFTA_SET_ELEM_KEY_END
	setDescConcat      = 2  // NFTA_SET_DESC_CONCAT
	setFieldLength     = 1  // NFTA_SET_FIELD_LEN
	registerSize       = 4  // bytes; each part of a key fills whole ones
	firstRegisterBytes = 16
)

func (r *Ruleset) parseSet(m reply) error {
	s := &elementsOf{}
	id := setID{table: foreignID{family: m.family}}
	err := eachAttr(m.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_SET_TABLE:
			id.table.table = parseString(value)
		case unix.NFTA_SET_NAME:
			id.name = parseString(value)
		case unix.NFTA_SET_FLAGS:
			s.isInterval = parseUint32(value)&setFlagInterval != 0
		case unix.NFTA_SET_DESC:
			return eachAttrOf(value, setDescConcat, s.parseFields)
		}
		return nil
	})
	r.sets[id] = s
	return err
}

func (s *elementsOf) parseFields(list []byte) error {
	return eachAttr(list, func(_ int, field []byte) error {
		return eachAttrOf(field, setFieldLength, func(length []byte) error {
			s.fields = append(s.fields, int(parseUint32(length)))
			return nil
		})
	})
}

// set returns a set with its elements, or nil where it could not be read.
func (r *Ruleset) set(table foreignID, name string) *elementsOf {
	s := r.sets[setID{table, name}]
	if s == nil {
		return nil
	}
	if !s.isRead {
		s.isRead = true
		s.err = r.conn.dump(s.parse, dumpElements(table.family, table.table, name), func() { s.elements = nil })
	}
	if s.err != nil {
		return nil
	}
	return s
}

func (s *elementsOf) parse(m reply) error {
	return eachElement(m.attrs, func(attrs []byte) error {
		var e anyElement
		err := eachAttr(attrs, e.parseAttr)
		s.elements = append(s.elements, e)
		return err
	})
}

func (e *anyElement) parseAttr(kind int, content []byte) error {
	keep := func(to *[]byte) error {
		return eachAttrOf(content, unix.NFTA_DATA_VALUE, func(b []byte) error {
			*to = slices.Clone(b)
			return nil
		})
	}
	switch kind {
	case unix.NFTA_SET_ELEM_KEY:
		return keep(&e.key)
	case elemKeyEnd:
		return keep(&e.end)
	case unix.NFTA_SET_ELEM_FLAGS:
		e.isEnd = parseUint32(content)&elemFlagEnd != 0
		e.isCatchAll = parseUint32(content)&elemFlagCatchAll != 0
	case unix.NFTA_SET_ELEM_DATA:
		if err := eachVerdict(content, func(v *expr.Verdict) { e.verdict = v }); err != nil {
			return err
		}
		return keep(&e.data)
	}
	return nil
}

// find returns the element that a key meets, or nil.
func (s *elementsOf) find(key []byte) *anyElement {
	var catchAll, last *anyElement
	for i := range s.elements {
		e := &s.elements[i]
		switch {
		case e.isCatchAll:
			catchAll = e
		case e.end != nil:
			if s.isBetween(e.key, key, e.end) {
				return e
			}
		case !s.isInterval:
			if bytes.Equal(e.key, key) {
				return e
			}
		case bytes.Compare(e.key, key) <= 0 && (last == nil || last.isBefore(e)):
			last = e
		}
	}
	if last != nil && !last.isEnd {
		return last
	}
	return catchAll
}

// isBefore reports whether an interval begins or ends before another one. Where one begins
// at the end of another, the key is in it.
func (e *anyElement) isBefore(other *anyElement) bool {
	order := bytes.Compare(e.key, other.key)
	return order < 0 || order == 0 && e.isEnd
}

// isBetween compares each part of a key.
func (s *elementsOf) isBetween(from, key, to []byte) bool {
	fields := s.fields
	if len(fields) == 0 {
		fields = []int{len(key)}
	}
	at := 0
	for _, length := range fields {
		next := at + (length+registerSize-1)/registerSize*registerSize
		if next > min(len(from), len(key), len(to)) {
			return false
		}
		if bytes.Compare(from[at:next], key[at:next]) > 0 || bytes.Compare(key[at:next], to[at:next]) > 0 {
			return false
		}
		at = next
	}
	return true
}
