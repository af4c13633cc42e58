// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"strings"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// maxComment is the number of bytes that nft reads of one
// (NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero).
const maxComment = 127

// comment names the owner. nft prints it between quotes, and reads what it
// printed.
func (m member) comment() string {
	text := strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, strings.TrimSpace(m.owner.Network+" "+m.owner.ContainerID+" "+m.owner.IfName))
	return text[:min(len(text), maxComment)]
}

// encode returns the element as a list of them has it.
func (m member) encode(withComment bool) []byte {
	key := attrNested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, []byte(m.key)))
	if !withComment || m.comment() == "" {
		return attrNested(unix.NFTA_LIST_ELEM, key)
	}
	data := userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_ELEM_COMMENT, m.comment())
	return attrNested(unix.NFTA_LIST_ELEM, key, attr(unix.NFTA_SET_ELEM_USERDATA, data))
}

// inSet returns the attributes of a message about elements of a set.
func inSet(name string, elements ...[]byte) []byte {
	attrs := append(attrString(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), attrString(unix.NFTA_SET_ELEM_LIST_SET, name)...)
	if len(elements) > 0 {
		attrs = append(attrs, attrNested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)...)
	}
	return attrs
}
