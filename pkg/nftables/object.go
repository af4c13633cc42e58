// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

func newTable() request {
	attrs := append(attrString(unix.NFTA_TABLE_NAME, tableName), attrUint32(unix.NFTA_TABLE_FLAGS, 0)...)
	attrs = append(attrs, attr(tableUserdata, userdata.AppendString(nil, commentOfTable, mark))...)
	return request{kind: unix.NFT_MSG_NEWTABLE, flags: unix.NLM_F_CREATE, attrs: attrs, what: "table"}
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
	attrs = append(attrs, attr(chainUserdata, userdata.AppendString(nil, commentOfTable, mark+l.comment))...)
	return request{kind: unix.NFT_MSG_NEWCHAIN, flags: unix.NLM_F_CREATE, attrs: attrs, what: "chain " + l.name}
}

func (l setLayout) create() request {
	attrs := append(attrString(unix.NFTA_SET_TABLE, tableName), attrString(unix.NFTA_SET_NAME, l.name)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_KEY_TYPE, l.keyType)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_KEY_LEN, l.keyLength)...)
	attrs = append(attrs, attrUint32(unix.NFTA_SET_ID, uint32(1+slices.Index(sets, l)))...)
	var data []byte
	if l.byteOrder != 0 {
		data = userdata.AppendUint32(data, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, l.byteOrder)
	}
	data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_COMMENT, mark+": "+l.comment)
	attrs = append(attrs, attr(unix.NFTA_SET_USERDATA, data)...)
	return request{kind: unix.NFT_MSG_NEWSET, flags: unix.NLM_F_CREATE, attrs: attrs, what: "set " + l.name}
}

// flush removes all rules of a chain.
func flush(chain string) request {
	return named(unix.NFT_MSG_DELRULE, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, chain, "rules of chain "+chain)
}

func deleteChain(name string) request {
	return named(unix.NFT_MSG_DELCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, name, "chain "+name)
}

func deleteSet(name string) request {
	return named(unix.NFT_MSG_DELSET, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, name, "set "+name)
}

func named(kind, tableAttr, nameAttr int, name, what string) request {
	return request{kind: kind, attrs: append(attrString(tableAttr, tableName), attrString(nameAttr, name)...), what: what}
}
