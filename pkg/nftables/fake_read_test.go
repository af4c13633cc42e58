// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"maps"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// get returns the kernel's replies to a query: ENOENT if what it names does not
// exist.
func (k *kernel) get(m message) ([]message, syscall.Errno) {
	switch kindName(m.kind) {
	case "GETGEN":
		id := attributes{unix.NFTA_GEN_ID: binary.BigEndian.AppendUint32(nil, k.generation)}
		return []message{{kind: unix.NFT_MSG_NEWGEN, attrs: id}}, 0
	case "GETTABLE":
		t := k.host.find(m.family, m.attrs.text(unix.NFTA_TABLE_NAME))
		if t == nil {
			return nil, unix.ENOENT
		}
		return []message{t.message()}, 0
	case "GETCHAIN":
		return k.host.listChains(m.family), 0
	case "kind 23": // GETFLOWTABLE
		return k.host.listFlowtables(), 0
	case "GETSET":
		return k.host.listOfTable(m, unix.NFTA_SET_TABLE, (*hostTable).listSets), 0
	case "GETRULE":
		return k.host.listOfTable(m, unix.NFTA_RULE_TABLE, func(t *hostTable) []message {
			return t.listRules(m.attrs.text(unix.NFTA_RULE_CHAIN))
		}), 0
	case "GETSETELEM":
		return k.host.getElements(m)
	}
	return nil, unix.EINVAL
}

// message describes a table. The kernel always adds the number of its objects.
func (t *hostTable) message() message {
	use := uint32(len(t.chains) + len(t.sets) + t.otherObjects)
	attrs := t.attrs.with(attributes{unix.NFTA_TABLE_USE: binary.BigEndian.AppendUint32(nil, use)})
	return message{kind: unix.NFT_MSG_NEWTABLE, family: t.family, attrs: attrs}
}

func (h *host) listChains(family byte) []message {
	var found []message
	for _, t := range h.tables {
		for _, c := range t.chains {
			if family == unix.NFPROTO_UNSPEC || family == t.family {
				found = append(found, message{kind: unix.NFT_MSG_NEWCHAIN, family: t.family, attrs: t.withUse(c)})
			}
		}
	}
	return found
}

func (h *host) listFlowtables() []message {
	var found []message
	for _, t := range h.tables {
		for _, name := range t.flowtables {
			attrs := attributes{1: append([]byte(t.name), 0), 2: append([]byte(name), 0)}
			found = append(found, message{kind: unix.NFT_MSG_NEWFLOWTABLE, family: t.family, attrs: attrs})
		}
	}
	return found
}

// count returns the number of rules.
func (c *hostChain) count() int {
	n := 0
	for _, r := range c.rules {
		if r != nil {
			n++
		}
	}
	return n
}

// withUse returns the attributes of a chain. The kernel adds the number of its rules, and
// of those that jump to it.
func (t *hostTable) withUse(c *hostChain) attributes {
	use := c.count()
	for _, other := range t.chains {
		for _, r := range other.rules {
			if _, chains := references(r); slices.Contains(chains, c.name) {
				use++
			}
		}
	}
	return c.attrs.with(attributes{unix.NFTA_CHAIN_USE: binary.BigEndian.AppendUint32(nil, uint32(use))})
}

// listOfTable lists something of one table. If the table does not exist, the list
// is empty.
func (h *host) listOfTable(m message, tableAttr int, list func(*hostTable) []message) []message {
	if t := h.find(m.family, m.attrs.text(tableAttr)); t != nil {
		return list(t)
	}
	return nil
}

func (t *hostTable) listSets() []message {
	var found []message
	for _, s := range t.sets {
		found = append(found, message{kind: unix.NFT_MSG_NEWSET, family: t.family, attrs: s.attrs})
	}
	return found
}

// listRules lists the rules of one chain, or of all for no name.
func (t *hostTable) listRules(chain string) []message {
	var found []message
	for _, c := range t.chains {
		if chain != "" && c.name != chain {
			continue
		}
		for i, r := range c.rules {
			if r == nil {
				continue
			}
			found = append(found, message{kind: unix.NFT_MSG_NEWRULE, family: t.family, attrs: attributes{
				unix.NFTA_RULE_TABLE:       []byte(t.name + "\x00"),
				unix.NFTA_RULE_CHAIN:       []byte(c.name + "\x00"),
				unix.NFTA_RULE_HANDLE:      binary.BigEndian.AppendUint64(nil, uint64(i+1)),
				unix.NFTA_RULE_EXPRESSIONS: r,
			}})
		}
	}
	return found
}

// getElements returns all elements of a set, or the one asked for.
func (h *host) getElements(m message) ([]message, syscall.Errno) {
	t := h.find(m.family, m.attrs.text(unix.NFTA_SET_ELEM_LIST_TABLE))
	if t == nil || t.set(m.attrs.text(unix.NFTA_SET_ELEM_LIST_SET)) == nil {
		return nil, unix.ENOENT
	}
	s := t.set(m.attrs.text(unix.NFTA_SET_ELEM_LIST_SET))
	answer := message{kind: unix.NFT_MSG_NEWSETELEM, family: t.family, attrs: m.attrs}
	if m.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		for _, key := range slices.Sorted(maps.Keys(s.elements)) {
			answer.elements = append(answer.elements, s.elements[key])
		}
		return []message{answer}, 0
	}
	for _, e := range m.elements {
		there, ok := s.elements[keyOf(e)]
		if !ok {
			return nil, unix.ENOENT
		}
		answer.elements = append(answer.elements, there)
	}
	return []message{answer}, 0
}

// keyOf returns the key of an element.
func keyOf(element attributes) string {
	return string(mustParse(element[unix.NFTA_SET_ELEM_KEY])[unix.NFTA_DATA_VALUE])
}
