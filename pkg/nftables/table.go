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
	generation uint32
	exists     bool
	marked     bool // it, or something in it, is known as the plugin's own
	dormant    bool
	objects    uint32 // in it: chains, sets and what the plugin has none of
	chains     map[string]*chain
	sets       map[string]*set
	misfits    []misfit
	blockers   []blocker
}

func newTable() request {
	attrs := append(attrString(unix.NFTA_TABLE_NAME, tableName), attrUint32(unix.NFTA_TABLE_FLAGS, 0)...)
	attrs = append(attrs, attr(tableUserdata, userdata.AppendString(nil, commentOfTable, mark))...)
	return request{kind: unix.NFT_MSG_NEWTABLE, flags: unix.NLM_F_CREATE, attrs: attrs, what: "table"}
}

// read reads the table at one moment, or tries again.
func (c *conn) read() (*table, error) {
	for range attempts {
		t, err := c.readOnce()
		if !errors.Is(err, errInterrupted) {
			return t, err
		}
	}
	return nil, ErrBusy
}

func (c *conn) readOnce() (*table, error) {
	t := &table{chains: map[string]*chain{}, sets: map[string]*set{}}
	err := c.ask(
		func(a answer) error {
			if a.request == 0 {
				return t.readGeneration(a)
			}
			return t.readTable(a)
		},
		request{kind: unix.NFT_MSG_GETGEN},
		request{kind: unix.NFT_MSG_GETTABLE, attrs: attrString(unix.NFTA_TABLE_NAME, tableName)})
	if err != nil {
		return nil, err
	}
	// Chains of all families: packets pass those of ip, ip6 and inet.
	chains := request{kind: unix.NFT_MSG_GETCHAIN, flags: unix.NLM_F_DUMP, anyFamily: true}
	if err := c.ask(t.readChain, chains); err != nil || !t.exists {
		return t, err
	}
	sets := request{kind: unix.NFT_MSG_GETSET, flags: unix.NLM_F_DUMP, attrs: attrString(unix.NFTA_SET_TABLE, tableName)}
	if err := c.ask(t.readSet, sets); err != nil {
		return nil, err
	}
	rules := request{kind: unix.NFT_MSG_GETRULE, flags: unix.NLM_F_DUMP, attrs: attrString(unix.NFTA_RULE_TABLE, tableName)}
	if err := c.ask(t.readRule, rules); err != nil {
		return nil, err
	}
	t.partMisfits()
	return t, nil
}

func (t *table) readGeneration(a answer) error {
	return eachAttr(a.attrs, func(kind int, value []byte) error {
		if kind == unix.NFTA_GEN_ID {
			t.generation = parseUint32(value)
		}
		return nil
	})
}

func (t *table) readTable(a answer) error {
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

// foreign reports whether the table must not be written to: something is in it,
// and nothing of that is known as the plugin's.
func (t *table) foreign() bool { return t.exists && !t.marked && t.objects > 0 }

// whole reports whether the table has all its sets, and nothing of another make.
func (t *table) whole() bool {
	return t.exists && !t.foreign() && len(t.misfits) == 0 &&
		!slices.ContainsFunc(sets, func(l setLayout) bool { return t.sets[l.name] == nil })
}

// misfit is a chain or set of the plugin's that the layout has not, or has
// otherwise: one of an older layout, or one that somebody changed.
type misfit struct {
	isSet bool
	name  string
}

// String says what is wrong with the misfit.
func (m misfit) String() string {
	if m.isSet {
		return "set " + m.name + " has another type, or is of another layout"
	}
	return "chain " + m.name + " has another hook, priority or policy, or is of another layout"
}

// partMisfits parts the misfits from the chains and sets.
func (t *table) partMisfits() {
	for name, s := range t.sets {
		i := slices.IndexFunc(sets, func(l setLayout) bool { return l.name == name })
		if i < 0 && s.marked || i >= 0 && !sets[i].is(s) {
			t.misfits = append(t.misfits, misfit{true, name})
			delete(t.sets, name)
		}
	}
	for name, c := range t.chains {
		i := slices.IndexFunc(chains, func(l chainLayout) bool { return l.name == name })
		if i < 0 && c.marked || i >= 0 && !chains[i].is(c) {
			t.misfits = append(t.misfits, misfit{false, name})
			delete(t.chains, name)
		}
	}
	slices.SortFunc(t.misfits, func(a, b misfit) int { return cmp.Compare(a.name, b.name) })
}
