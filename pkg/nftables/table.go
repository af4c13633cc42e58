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

// table is what the kernel held when it was read: of the plugin's table all but
// the elements, which are read when they are asked for, and of others the names
// of those that drop what nobody accepts.
type table struct {
	generation      uint32
	exists          bool
	marked          bool // it, or something in it, is known as the plugin's own
	dormant         bool
	objects         uint32 // in it: chains, sets and what the plugin has none of
	chains          map[string]*chain
	sets            map[string]*set
	incompatible    []incompatible
	forwardBlockers []forwardBlocker
}

func newTable() request {
	attrs := append(attrString(unix.NFTA_TABLE_NAME, tableName), attrUint32(unix.NFTA_TABLE_FLAGS, 0)...)
	attrs = append(attrs, attr(tableUserdata, userdata.AppendString(nil, tableComment, mark))...)
	return request{kind: unix.NFT_MSG_NEWTABLE, flags: unix.NLM_F_CREATE, attrs: attrs, object: "table"}
}

// read reads the table at one moment, or tries again.
func (c *conn) read() (*table, error) {
	for range maxAttempts {
		t, err := c.readOnce()
		if !errors.Is(err, errInterrupted) {
			return t, err
		}
	}
	return nil, ErrBusy
}

func (c *conn) readOnce() (*table, error) {
	t := &table{chains: map[string]*chain{}, sets: map[string]*set{}}
	err := c.query(
		func(a reply) error {
			if a.index == 0 {
				return t.parseGeneration(a)
			}
			return t.parseTable(a)
		},
		request{kind: unix.NFT_MSG_GETGEN},
		request{kind: unix.NFT_MSG_GETTABLE, attrs: attrString(unix.NFTA_TABLE_NAME, tableName)})
	if err != nil {
		return nil, err
	}
	// Chains of all families: packets pass those of ip, ip6 and inet.
	chains := request{kind: unix.NFT_MSG_GETCHAIN, flags: unix.NLM_F_DUMP, anyFamily: true}
	if err := c.query(t.parseChain, chains); err != nil || !t.exists {
		return t, err
	}
	sets := request{kind: unix.NFT_MSG_GETSET, flags: unix.NLM_F_DUMP, attrs: attrString(unix.NFTA_SET_TABLE, tableName)}
	if err := c.query(t.parseSet, sets); err != nil {
		return nil, err
	}
	rules := request{kind: unix.NFT_MSG_GETRULE, flags: unix.NLM_F_DUMP, attrs: attrString(unix.NFTA_RULE_TABLE, tableName)}
	if err := c.query(t.parseRule, rules); err != nil {
		return nil, err
	}
	t.separateIncompatible()
	return t, nil
}

func (t *table) parseGeneration(a reply) error {
	return eachAttr(a.attrs, func(kind int, value []byte) error {
		if kind == unix.NFTA_GEN_ID {
			t.generation = parseUint32(value)
		}
		return nil
	})
}

func (t *table) parseTable(a reply) error {
	t.exists = true
	return eachAttr(a.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_TABLE_FLAGS:
			t.dormant = parseUint32(value)&unix.NFT_TABLE_F_DORMANT != 0
		case unix.NFTA_TABLE_USE:
			t.objects = parseUint32(value)
		case tableUserdata:
			t.marked = t.marked || isMarked(value)
		}
		return nil
	})
}

// isMarked reports whether user data has a comment of the plugin's in it.
func isMarked(userdata []byte) bool { return bytes.Contains(userdata, []byte(mark)) }

// isForeign reports whether the table must not be written to: something is in it,
// and nothing of that is known as the plugin's.
func (t *table) isForeign() bool { return t.exists && !t.marked && t.objects > 0 }

// isComplete reports whether the table has all its sets, and nothing of another make.
func (t *table) isComplete() bool {
	return t.exists && !t.isForeign() && len(t.incompatible) == 0 &&
		!slices.ContainsFunc(sets, func(l setLayout) bool { return t.sets[l.name] == nil })
}

// incompatible is a chain or set of the plugin's that the layout has not, or has
// otherwise: one of an older layout, or one that somebody changed.
type incompatible struct {
	isSet bool
	name  string
}

// String says what is wrong with the misfit.
func (m incompatible) String() string {
	if m.isSet {
		return "set " + m.name + " has another type, or is of another layout"
	}
	return "chain " + m.name + " has another hook, priority or policy, or is of another layout"
}

// separateIncompatible parts the misfits from the chains and sets.
func (t *table) separateIncompatible() {
	for name, s := range t.sets {
		i := slices.IndexFunc(sets, func(l setLayout) bool { return l.name == name })
		if i < 0 && s.marked || i >= 0 && !sets[i].isCompatible(s) {
			t.incompatible = append(t.incompatible, incompatible{true, name})
			delete(t.sets, name)
		}
	}
	for name, c := range t.chains {
		i := slices.IndexFunc(chains, func(l chainLayout) bool { return l.name == name })
		if i < 0 && c.marked || i >= 0 && !chains[i].isCompatible(c) {
			t.incompatible = append(t.incompatible, incompatible{false, name})
			delete(t.chains, name)
		}
	}
	slices.SortFunc(t.incompatible, func(a, b incompatible) int { return cmp.Compare(a.name, b.name) })
}
