// SPDX-License-Identifier: Apache-2.0

package nftables

import (
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
	rules       [][]expr.Any // nil for a rule with an expression that the plugin never writes
}

func (l chainLayout) isCompatible(c *chain) bool {
	if l.priority == nil {
		return !c.base
	}
	return c.base && c.hook == nfForward && c.priority == *l.priority && !c.policyDrops
}

func (l chainLayout) create(mark string) request {
	attrs := chainAttrs(l.name)
	if l.priority != nil {
		attrs = slices.Concat(attrs,
			attrNested(unix.NFTA_CHAIN_HOOK,
				attrUint32(unix.NFTA_HOOK_HOOKNUM, nfForward),
				attrUint32(unix.NFTA_HOOK_PRIORITY, uint32(*l.priority))),
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

// parseChain keeps the plugin's own chains, and the forward blockers of other
// tables.
func (t *table) parseChain(r reply) error {
	c := &chain{}
	err := eachAttr(r.attrs, c.parseAttr)
	switch family := families[r.family]; {
	case r.family == unix.NFPROTO_INET && c.table == tableName:
		t.chains[c.name] = c
		t.marked = t.marked || c.marked
	case family != "" && c.base && c.hook == nfForward && c.policyDrops:
		t.forwardBlockers = append(t.forwardBlockers, newForwardBlocker(family, c.table, c.name, ""))
	}
	return err
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
