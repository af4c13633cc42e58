// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"maps"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// find returns the answers to a request that reads, as the kernel would have
// them: ENOENT where what is named is not there.
func (k *kernel) find(m told) ([]told, syscall.Errno) {
	switch kindName(m.kind) {
	case "GETGEN":
		id := attributes{unix.NFTA_GEN_ID: binary.BigEndian.AppendUint32(nil, k.generation)}
		return []told{{kind: unix.NFT_MSG_NEWGEN, attrs: id}}, 0
	case "GETTABLE":
		t := k.host.find(m.family, m.attrs.str(unix.NFTA_TABLE_NAME))
		if t == nil {
			return nil, unix.ENOENT
		}
		return []told{t.told()}, 0
	case "GETCHAIN":
		return k.host.toldChains(m.family), 0
	case "GETSET":
		return k.host.ofTable(m, unix.NFTA_SET_TABLE, (*hostTable).toldSets), 0
	case "GETRULE":
		return k.host.ofTable(m, unix.NFTA_RULE_TABLE, (*hostTable).toldRules), 0
	case "GETSETELEM":
		return k.host.toldElements(m)
	}
	return nil, unix.EINVAL
}

// told is what is said of a table. Its flags and how many objects are in it the
// kernel tells always.
func (t *hostTable) told() told {
	use := uint32(len(t.chains) + len(t.sets) + t.others)
	attrs := t.attrs.with(attributes{unix.NFTA_TABLE_USE: binary.BigEndian.AppendUint32(nil, use)})
	return told{kind: unix.NFT_MSG_NEWTABLE, family: t.family, attrs: attrs}
}

func (h *host) toldChains(family byte) []told {
	var found []told
	for _, t := range h.tables {
		for _, c := range t.chains {
			if family == unix.NFPROTO_UNSPEC || family == t.family {
				found = append(found, told{kind: unix.NFT_MSG_NEWCHAIN, family: t.family, attrs: c.attrs})
			}
		}
	}
	return found
}

// ofTable lists something of one table; of one that is not there, nothing.
func (h *host) ofTable(m told, tableAttr int, list func(*hostTable) []told) []told {
	if t := h.find(m.family, m.attrs.str(tableAttr)); t != nil {
		return list(t)
	}
	return nil
}

func (t *hostTable) toldSets() []told {
	var found []told
	for _, s := range t.sets {
		found = append(found, told{kind: unix.NFT_MSG_NEWSET, family: t.family, attrs: s.attrs})
	}
	return found
}

func (t *hostTable) toldRules() []told {
	var found []told
	for _, c := range t.chains {
		for _, r := range c.rules {
			found = append(found, told{kind: unix.NFT_MSG_NEWRULE, family: t.family, attrs: attributes{
				unix.NFTA_RULE_TABLE:       []byte(t.name + "\x00"),
				unix.NFTA_RULE_CHAIN:       []byte(c.name + "\x00"),
				unix.NFTA_RULE_EXPRESSIONS: r,
			}})
		}
	}
	return found
}

// toldElements answers with all elements of a set, or with the one asked for.
func (h *host) toldElements(m told) ([]told, syscall.Errno) {
	t := h.find(m.family, m.attrs.str(unix.NFTA_SET_ELEM_LIST_TABLE))
	if t == nil || t.set(m.attrs.str(unix.NFTA_SET_ELEM_LIST_SET)) == nil {
		return nil, unix.ENOENT
	}
	s := t.set(m.attrs.str(unix.NFTA_SET_ELEM_LIST_SET))
	answer := told{kind: unix.NFT_MSG_NEWSETELEM, family: t.family, attrs: m.attrs}
	if m.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		for _, key := range slices.Sorted(maps.Keys(s.elements)) {
			answer.list = append(answer.list, s.elements[key])
		}
		return []told{answer}, 0
	}
	for _, e := range m.list {
		there, ok := s.elements[keyOf(e)]
		if !ok {
			return nil, unix.ENOENT
		}
		answer.list = append(answer.list, there)
	}
	return []told{answer}, 0
}

// keyOf returns the key of an element.
func keyOf(element attributes) string {
	return string(mustParse(element[unix.NFTA_SET_ELEM_KEY])[unix.NFTA_DATA_VALUE])
}
