// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// state is the plugin's tables as the kernel has them, and the chains of other tables
// that forwarded packets pass.
type state struct {
	generation      uint32
	packets, frames *table
	foreignBases    []foreignBase
	foreignUses     map[foreignID]map[string]uint32 // by chain
}

// tables returns both tables.
func (s *state) tables() []*table { return []*table{s.packets, s.frames} }

// table is one of the plugin's tables as the kernel has it. Elements are read only when
// they are looked up.
type table struct {
	*tableLayout

	exists       bool
	marked       bool // the table, or something in it, has a comment of the plugin
	dormant      bool
	objects      uint32 // number of chains, sets, and objects that the plugin never makes
	chains       map[string]*chain
	sets         map[string]*set
	incompatible []incompatible // which are neither in chains nor in sets

	forgedHandles map[string][]uint64 // see forged
	forgedUnread  bool                // see has
	forgedMatch   bool                // see matchForged
}

func newTable(l *tableLayout) *table {
	return &table{tableLayout: l, chains: map[string]*chain{}, sets: map[string]*set{}}
}

// createTable creates the table. If it exists, it is no longer dormant.
func createTable() request {
	attrs := slices.Concat(
		attrString(unix.NFTA_TABLE_NAME, tableName), attrUint32(unix.NFTA_TABLE_FLAGS, 0),
		attr(tableUserdata, userdata.AppendString(nil, tableComment, mark)))
	return request{kind: unix.NFT_MSG_NEWTABLE, flags: unix.NLM_F_CREATE, attrs: attrs, object: "table"}
}

func deleteTable() request {
	return request{kind: unix.NFT_MSG_DELTABLE, attrs: attrString(unix.NFTA_TABLE_NAME, tableName), object: "table"}
}

// read reads the table as it is at one moment. If another program changes tables
// meanwhile, it reads again.
func (c *conn) read() (*state, error) {
	for range maxAttempts {
		s, err := c.readOnce()
		if !errors.Is(err, errInterrupted) {
			return s, err
		}
	}
	return nil, ErrBusy
}

func (c *conn) readOnce() (*state, error) {
	s := &state{packets: newTable(packets), frames: newTable(frames)}
	requests := []request{{kind: unix.NFT_MSG_GETGEN}}
	for _, t := range s.tables() {
		name := attrString(unix.NFTA_TABLE_NAME, tableName)
		requests = append(requests, request{kind: unix.NFT_MSG_GETTABLE, family: t.family, attrs: name})
	}
	if err := c.query(s.parseTable, requests...); err != nil {
		return nil, err
	}
	// Chains of every family: a packet passes those of ip or ip6, and of inet.
	err := c.query(s.parseChain, request{kind: unix.NFT_MSG_GETCHAIN, flags: unix.NLM_F_DUMP, anyFamily: true})
	if err != nil {
		return s, err
	}
	for _, t := range s.tables() {
		if !t.exists {
			continue
		}
		if err := c.query(t.parseSet, t.dumpSets()); err != nil {
			return nil, err
		}
		if err := c.readRules(t); err != nil {
			return nil, err
		}
		t.separateIncompatible()
	}
	return s, nil
}

// dumpSets asks for the sets of the table.
func (t *table) dumpSets() request {
	return request{kind: unix.NFT_MSG_GETSET, flags: unix.NLM_F_DUMP, family: t.family, attrs: attrString(unix.NFTA_SET_TABLE, tableName)}
}

// parseTable parses the replies to three requests: the generation and the tables.
func (s *state) parseTable(r reply) error {
	if r.index == 0 {
		return eachAttr(r.attrs, s.parseGenerationAttr)
	}
	t := s.tables()[r.index-1]
	t.exists = true
	return eachAttr(r.attrs, t.parseAttr)
}

func (s *state) parseGenerationAttr(kind int, value []byte) error {
	if kind == unix.NFTA_GEN_ID {
		s.generation = parseUint32(value)
	}
	return nil
}

func (t *table) parseAttr(kind int, value []byte) error {
	switch kind {
	case unix.NFTA_TABLE_FLAGS:
		t.dormant = parseUint32(value)&unix.NFT_TABLE_F_DORMANT != 0
	case unix.NFTA_TABLE_USE:
		t.objects = parseUint32(value)
	case tableUserdata:
		t.marked = t.marked || isMarked(value)
	}
	return nil
}

// isMarked reports whether user data has a comment of the plugin in it.
func isMarked(userdata []byte) bool { return bytes.Contains(userdata, []byte(mark)) }

// isForeign reports whether the table belongs to another program, and must not be
// written to. It has something in it, and nothing with a comment of the plugin.
func (t *table) isForeign() bool { return t.exists && !t.marked && t.objects > 0 }

// isComplete reports whether the table has all its sets, and nothing
// incompatible.
func (t *table) isComplete() bool {
	return t.exists && !t.isForeign() && len(t.incompatible) == 0 &&
		!slices.ContainsFunc(t.tableLayout.sets, func(l setLayout) bool { return t.sets[l.name] == nil })
}

// incompatible is a chain or set of the plugin that does not fit the layout.
// Another version of the plugin made it, or another program changed it.
type incompatible struct {
	isSet bool
	name  string
}

// String says what is wrong.
func (i incompatible) String() string {
	if i.isSet {
		return "set " + i.name + " has a different type, or belongs to another layout"
	}
	return "chain " + i.name + " has a different hook, priority or policy, or belongs to another layout"
}

// separateIncompatible moves what is incompatible out of the chains and sets.
func (t *table) separateIncompatible() {
	for name, s := range t.sets {
		if l, own := t.setLayoutOf(name); own && !l.isCompatible(s) || !own && s.marked {
			t.incompatible = append(t.incompatible, incompatible{true, name})
			delete(t.sets, name)
		}
	}
	for name, c := range t.chains {
		if l, own := t.chainLayoutOf(name); own && !l.isCompatible(c) || !own && c.marked {
			t.incompatible = append(t.incompatible, incompatible{false, name})
			delete(t.chains, name)
		}
	}
	slices.SortFunc(t.incompatible, func(a, b incompatible) int { return cmp.Compare(a.name, b.name) })
}
