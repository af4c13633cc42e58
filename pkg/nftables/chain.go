// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

type chain struct {
	base        bool
	hook        uint32
	priority    int32
	policyDrops bool // its policy
	marked      bool
	rules       [][]expr.Any // nil for one with anything in it that the plugin's rules never have
}

func (l chainLayout) isCompatible(c *chain) bool {
	if l.priority == nil {
		return !c.base
	}
	return c.base && c.hook == nfForward && c.priority == *l.priority && !c.policyDrops
}

func (l chainLayout) create(mark string) request {
	attrs := append(attrString(unix.NFTA_CHAIN_TABLE, tableName), attrString(unix.NFTA_CHAIN_NAME, l.name)...)
	if l.priority != nil {
		attrs = append(attrs, attrNested(unix.NFTA_CHAIN_HOOK,
			attrUint32(unix.NFTA_HOOK_HOOKNUM, nfForward),
			attrUint32(unix.NFTA_HOOK_PRIORITY, uint32(*l.priority)))...)
		attrs = append(attrs, attrUint32(unix.NFTA_CHAIN_POLICY, nfAccept)...)
		attrs = append(attrs, attrString(unix.NFTA_CHAIN_TYPE, "filter")...)
	}
	attrs = append(attrs, attr(chainUserdata, userdata.AppendString(nil, tableComment, mark+l.comment))...)
	return request{kind: unix.NFT_MSG_NEWCHAIN, flags: unix.NLM_F_CREATE, attrs: attrs, object: "chain " + l.name}
}

// flush removes all rules of a chain.
func flush(chain string) request {
	return deleteRequest(unix.NFT_MSG_DELRULE, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, chain, "rules of chain "+chain)
}

func deleteChain(name string) request {
	return deleteRequest(unix.NFT_MSG_DELCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, name, "chain "+name)
}

func (t *table) parseChain(a reply) error {
	c := &chain{}
	var table, name string
	err := eachAttr(a.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_CHAIN_TABLE:
			table = parseString(value)
		case unix.NFTA_CHAIN_NAME:
			name = parseString(value)
		case unix.NFTA_CHAIN_HOOK:
			return c.parseHook(value)
		case unix.NFTA_CHAIN_POLICY:
			c.policyDrops = parseUint32(value) == nfDrop
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
	case family != "" && c.base && c.hook == nfForward && c.policyDrops:
		t.forwardBlockers = append(t.forwardBlockers, forwardBlocker{family, table, name, ""})
	}
	return err
}

func (c *chain) parseHook(value []byte) error {
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

// families are those whose chains forwarded packets pass, as nft calls them.
var families = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet"}
