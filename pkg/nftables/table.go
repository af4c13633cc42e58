// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"errors"
	"strings"

	"github.com/google/nftables/expr"
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

// misfit is a chain or set of the plugin's that the layout has not, or has
// otherwise: one of an older layout, or one that somebody changed.
type misfit struct {
	isSet bool
	name  string
}

type chain struct {
	base     bool
	hook     uint32
	priority int32
	drops    bool // its policy
	marked   bool
	rules    [][]expr.Any // nil for one with anything in it that the plugin's rules never have
}

type set struct {
	keyType, keyLength, flags uint32
	marked                    bool
	elements                  map[string]bool // by key; those that were asked for, true if they are there
	complete                  bool            // all were
}

// blocker is a chain of another table that drops what it does not accept.
type blocker struct {
	family, table, chain string
	variant              string // suffix of the iptables that has it
}

// attempts bounds how often a reading or writing is tried again that another
// program came in between of.
const attempts = 100

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

func (t *table) readSet(a answer) error {
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

func (t *table) readChain(a answer) error {
	c := &chain{}
	var table, name string
	err := eachAttr(a.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_CHAIN_TABLE:
			table = parseString(value)
		case unix.NFTA_CHAIN_NAME:
			name = parseString(value)
		case unix.NFTA_CHAIN_HOOK:
			return c.readHook(value)
		case unix.NFTA_CHAIN_POLICY:
			c.drops = parseUint32(value) == nfDrop
		case chainUserdata:
			c.marked = isMarked(value)
		}
		return nil
	})
	family := families[a.family]
	switch {
	case a.family == unix.NFPROTO_INET && table == tableName:
		t.chains[name] = c
		t.marked = t.marked || c.marked
	case family != "" && c.base && c.hook == nfForward && c.drops:
		t.blockers = append(t.blockers, blocker{family, table, name, ""})
	}
	return err
}

// families are those whose chains forwarded packets pass, as nft calls them.
var families = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet"}

func (c *chain) readHook(value []byte) error {
	c.base = true
	return eachAttr(value, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_HOOK_HOOKNUM:
			c.hook = parseUint32(value)
		case unix.NFTA_HOOK_PRIORITY:
			c.priority = int32(parseUint32(value))
		}
		return nil
	})
}
