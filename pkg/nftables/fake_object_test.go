// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"maps"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// newChain creates a chain. The hook of an existing chain cannot change.
func (w *writer) newChain(t *hostTable, m message) syscall.Errno {
	name := m.attrs.text(unix.NFTA_CHAIN_NAME)
	_, base := m.attrs[unix.NFTA_CHAIN_HOOK]
	switch c := t.chain(name); {
	case base && w.wakesTable:
		return unix.EINVAL // __NFT_TABLE_F_UPDATE in nf_tables_addchain
	case c == nil:
		t.chains = append(t.chains, &hostChain{name: name, attrs: m.attrs})
	case string(c.attrs[unix.NFTA_CHAIN_HOOK]) != string(m.attrs[unix.NFTA_CHAIN_HOOK]):
		return unix.EEXIST
	}
	return 0
}

// deleteChain deletes a chain and its rules.
func (t *hostTable) deleteChain(name string) syscall.Errno {
	c := t.chain(name)
	if c == nil {
		return unix.ENOENT
	}
	c.rules = nil
	if t.refersTo("", name) {
		return unix.EBUSY
	}
	t.chains = slices.DeleteFunc(t.chains, func(d *hostChain) bool { return d == c })
	return 0
}

// newRule appends a rule to its chain.
func (t *hostTable) newRule(m message) syscall.Errno {
	c := t.chain(m.attrs.text(unix.NFTA_RULE_CHAIN))
	if c == nil || m.flags&unix.NLM_F_APPEND == 0 {
		return unix.ENOENT
	}
	r := m.attrs[unix.NFTA_RULE_EXPRESSIONS]
	sets, chains := references(r)
	for _, name := range sets {
		if t.set(name) == nil {
			return unix.ENOENT
		}
	}
	for _, name := range chains {
		if d := t.chain(name); d == nil {
			return unix.ENOENT
		} else if _, base := d.attrs[unix.NFTA_CHAIN_HOOK]; base {
			return unix.EOPNOTSUPP // nft_verdict_init
		}
	}
	c.rules = append(c.rules, r)
	return 0
}

// deleteRules deletes one rule of a chain by its handle, or all without one. Without a
// name the kernel would flush the whole table.
func (t *hostTable) deleteRules(name string, handle []byte) syscall.Errno {
	c := t.chain(name)
	switch at := parseUint64(handle); {
	case c == nil:
		return unix.ENOENT
	case handle == nil:
		c.rules = nil
	case at == 0 || int(at) > len(c.rules) || c.rules[at-1] == nil:
		return unix.ENOENT
	default:
		c.rules[at-1] = nil
	}
	return 0
}

// newSet creates a set. The kernel wants an ID for it that no other set of the
// transaction has.
func (t *hostTable) newSet(m message) syscall.Errno {
	name := m.attrs.text(unix.NFTA_SET_NAME)
	switch s := t.set(name); {
	case m.attrs.number(unix.NFTA_SET_ID) == 0 || m.attrs.number(unix.NFTA_SET_KEY_LEN) == 0:
		return unix.EINVAL
	case s == nil:
		attrs := maps.Clone(m.attrs)
		delete(attrs, unix.NFTA_SET_ID)
		t.sets = append(t.sets, &hostSet{name, attrs, map[string]attributes{}})
	case string(s.attrs[unix.NFTA_SET_KEY_LEN]) != string(m.attrs[unix.NFTA_SET_KEY_LEN]):
		return unix.EEXIST
	}
	return 0
}

func (t *hostTable) deleteSet(name string) syscall.Errno {
	s := t.set(name)
	switch {
	case s == nil:
		return unix.ENOENT
	case t.refersTo(name, ""):
		return unix.EBUSY
	}
	t.sets = slices.DeleteFunc(t.sets, func(u *hostSet) bool { return u == s })
	return 0
}

// element adds or deletes elements. Adding an existing element is no error;
// deleting a missing one is.
func (t *hostTable) element(m message) syscall.Errno {
	s := t.set(m.attrs.text(unix.NFTA_SET_ELEM_LIST_SET))
	if s == nil {
		return unix.ENOENT
	}
	for _, e := range m.elements {
		key := keyOf(e)
		_, there := s.elements[key]
		switch {
		case len(key) != int(s.attrs.number(unix.NFTA_SET_KEY_LEN)):
			return unix.EINVAL
		case m.kind == unix.NFT_MSG_NEWSETELEM && !there:
			s.elements[key] = e
		case m.kind == unix.NFT_MSG_DELSETELEM && !there:
			return unix.ENOENT
		case m.kind == unix.NFT_MSG_DELSETELEM:
			delete(s.elements, key)
		}
	}
	return 0
}
