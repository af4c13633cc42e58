// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// chain is a chain as the kernel has it.
type chain struct {
	table, name string
	base        bool
	hook        uint32
	priority    int32
	policyDrops bool
	marked      bool
	use         uint32       // number of its rules, and of those that jump to it
	rules       [][]expr.Any // nil for a rule with an expression that the plugin never writes
	handles     []uint64     // of the rules
}

func (l chainLayout) isCompatible(c *chain) bool {
	if l.base == nil {
		return !c.base
	}
	return c.base && c.hook == l.base.hook && c.priority == l.base.priority && !c.policyDrops
}

func (l chainLayout) create(mark string) request {
	attrs := chainAttrs(l.name)
	if l.base != nil {
		attrs = slices.Concat(attrs,
			attrNested(unix.NFTA_CHAIN_HOOK,
				attrUint32(unix.NFTA_HOOK_HOOKNUM, l.base.hook),
				attrUint32(unix.NFTA_HOOK_PRIORITY, uint32(l.base.priority))),
			attrUint32(unix.NFTA_CHAIN_POLICY, nfAccept),
			attrString(unix.NFTA_CHAIN_TYPE, "filter"))
	}
	attrs = append(attrs, attr(chainUserdata, userdata.AppendString(nil, tableComment, mark+l.comment))...)
	return request{kind: unix.NFT_MSG_NEWCHAIN, flags: unix.NLM_F_CREATE, attrs: attrs, object: "chain " + l.name}
}

func deleteChain(name string) request {
	return request{kind: unix.NFT_MSG_DELCHAIN, attrs: chainAttrs(name), object: "chain " + name}
}

func chainAttrs(name string) []byte {
	return slices.Concat(attrString(unix.NFTA_CHAIN_TABLE, tableName), attrString(unix.NFTA_CHAIN_NAME, name))
}

// flushChain deletes all rules of a chain.
func flushChain(name string) request {
	attrs := slices.Concat(attrString(unix.NFTA_RULE_TABLE, tableName), attrString(unix.NFTA_RULE_CHAIN, name))
	return request{kind: unix.NFT_MSG_DELRULE, attrs: attrs, object: "rules of chain " + name}
}

// deleteRule deletes one rule of a chain.
func deleteRule(chain string, handle uint64, text string) request {
	attrs := slices.Concat(attrString(unix.NFTA_RULE_TABLE, tableName), attrString(unix.NFTA_RULE_CHAIN, chain),
		attr(unix.NFTA_RULE_HANDLE, binary.BigEndian.AppendUint64(nil, handle)))
	return request{kind: unix.NFT_MSG_DELRULE, attrs: attrs, object: "rule of chain " + chain + ": " + text}
}

// parseChain keeps the plugin's own chains, and the base chains of other tables that
// forwarded packets pass.
func (s *state) parseChain(r reply) error {
	c := &chain{}
	err := eachAttr(r.attrs, c.parseAttr)
	t := s.packets
	if r.family == frames.family {
		t = s.frames
	}
	switch {
	case r.family == t.family && c.table == tableName:
		t.chains[c.name] = c
		t.marked = t.marked || c.marked
	case families[r.family] != "":
		s.addForeign(r.family, c)
	}
	return err
}

func (s *state) addForeign(family byte, c *chain) {
	id := foreignID{family, c.table}
	if s.foreignUses == nil {
		s.foreignUses = map[foreignID]map[string]uint32{}
	}
	if s.foreignUses[id] == nil {
		s.foreignUses[id] = map[string]uint32{}
	}
	s.foreignUses[id][c.name] = c.use
	if c.base && c.hook == nfForward {
		s.foreignBases = append(s.foreignBases, foreignBase{family, c.table, c.name, c.policyDrops})
	}
}

func (c *chain) parseAttr(kind int, value []byte) error {
	switch kind {
	case unix.NFTA_CHAIN_TABLE:
		c.table = parseString(value)
	case unix.NFTA_CHAIN_NAME:
		c.name = parseString(value)
	case unix.NFTA_CHAIN_HOOK:
		c.base = true
		return eachAttr(value, c.parseHookAttr)
	case unix.NFTA_CHAIN_POLICY:
		c.policyDrops = parseUint32(value) == nfDrop
	case unix.NFTA_CHAIN_USE:
		c.use = parseUint32(value)
	case chainUserdata:
		c.marked = isMarked(value)
	}
	return nil
}

func (c *chain) parseHookAttr(kind int, value []byte) error {
	switch kind {
	case unix.NFTA_HOOK_HOOKNUM:
		c.hook = parseUint32(value)
	case unix.NFTA_HOOK_PRIORITY:
		c.priority = int32(parseUint32(value))
	}
	return nil
}

// families are the families whose chains forwarded packets pass, with the names
// that nft gives them.
var families = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet"}
