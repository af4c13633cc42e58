// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// String lists everything in the order of the kernel, and elements by key.
func (h *host) String() string {
	var b strings.Builder
	for _, t := range h.tables {
		comment := commentIn(t.attrs[tableUserdata], tableComment)
		fmt.Fprintf(&b, "table %s %s # %s\n", familyName(t.family), t.name, comment)
		if flags := t.attrs.number(unix.NFTA_TABLE_FLAGS); flags != 0 {
			fmt.Fprintf(&b, "  flags %d\n", flags)
		}
		for _, s := range t.sets {
			s.render(&b)
		}
		for _, c := range t.chains {
			c.render(&b)
		}
	}
	return b.String()
}

func familyName(family byte) string {
	if family == frames.family {
		return frames.familyName
	}
	return families[family]
}

func (s *hostSet) render(b *strings.Builder) {
	data := s.attrs[unix.NFTA_SET_USERDATA]
	fmt.Fprintf(b, "  set %s type %#x length %d", s.name,
		s.attrs.number(unix.NFTA_SET_KEY_TYPE), s.attrs.number(unix.NFTA_SET_KEY_LEN))
	if order := userdata.Get(data, userdata.NFTNL_UDATA_SET_KEYBYTEORDER); order != nil {
		fmt.Fprintf(b, " order %d", binary.NativeEndian.Uint32(order))
	}
	if flags := s.attrs.number(unix.NFTA_SET_FLAGS); flags != 0 {
		size := mustParse(s.attrs[unix.NFTA_SET_DESC]).number(unix.NFTA_SET_DESC_SIZE)
		timeout := time.Duration(parseUint64(s.attrs[unix.NFTA_SET_TIMEOUT])) * time.Millisecond
		fmt.Fprintf(b, " flags %#x size %d timeout %s", flags, size, timeout)
	}
	fmt.Fprintf(b, " # %s\n", commentIn(data, userdata.NFTNL_UDATA_SET_COMMENT))
	for _, key := range slices.Sorted(maps.Keys(s.elements)) {
		comment := commentIn(s.elements[key][unix.NFTA_SET_ELEM_USERDATA], userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
		fmt.Fprintf(b, "    %s # %s\n", element{set: s.name, key: key}, comment)
	}
}

// commentIn returns the comment of user data.
func commentIn(data []byte, kind userdata.Type) string {
	text, _ := userdata.GetString(data, kind)
	return text
}

func (c *hostChain) render(b *strings.Builder) {
	fmt.Fprintf(b, "  chain %s", c.name)
	if hook, ok := c.attrs[unix.NFTA_CHAIN_HOOK]; ok {
		h := mustParse(hook)
		fmt.Fprintf(b, " type %s hook %d priority %d policy %d", c.attrs.text(unix.NFTA_CHAIN_TYPE),
			h.number(unix.NFTA_HOOK_HOOKNUM), int32(h.number(unix.NFTA_HOOK_PRIORITY)),
			c.attrs.number(unix.NFTA_CHAIN_POLICY))
	}
	fmt.Fprintf(b, " # %s\n", commentIn(c.attrs[chainUserdata], tableComment))
	rules := slices.DeleteFunc(slices.Clone(c.rules), func(r []byte) bool { return r == nil })
	if c.name == chainForged { // in any order
		slices.SortFunc(rules, bytes.Compare)
	}
	for _, r := range rules {
		fmt.Fprintf(b, "    %s\n", textOf(r))
		for _, e := range mustExprs(r) {
			fmt.Fprintf(b, "      [ %s ]\n", operation(e))
		}
	}
}

// textOf returns the text that the layout has for a rule.
func textOf(r []byte) string {
	for _, l := range slices.Concat(chains, frameChains) {
		for _, known := range l.rules {
			if known.equals(mustExprs(r)) {
				return known.text
			}
		}
	}
	if key, is := forgedKey(mustExprs(r)); is {
		return forgedRule(key).text
	}
	if _, chains := references(r); len(chains) == 1 && jumpTo(chains[0]).equals(mustExprs(r)) {
		return jumpTo(chains[0]).text
	}
	return "somebody else's"
}

func mustExprs(r []byte) []expr.Any {
	exprs, err := parseExprs(r)
	if err != nil {
		panic(err)
	}
	return exprs
}

// operation prints an expression as nft --debug=netlink does, but with numbers for
// words.
func operation(e expr.Any) string {
	switch e := e.(type) {
	case *expr.Meta:
		return fmt.Sprintf("meta load %d => reg %d", e.Key, e.Register)
	case *expr.Ct:
		return fmt.Sprintf("ct load %d dir %d => reg %d", e.Key, e.Direction, e.Register)
	case *expr.Fib:
		return fmt.Sprintf("fib %+v", *e)
	case *expr.Payload:
		return fmt.Sprintf("payload load %db @ header %d + %d => reg %d", e.Len, e.Base, e.Offset, e.DestRegister)
	case *expr.Bitwise:
		return fmt.Sprintf("bitwise reg %d = ( reg %d & %#x ) ^ %#x",
			e.DestRegister, e.SourceRegister, binary.NativeEndian.Uint32(e.Mask), binary.NativeEndian.Uint32(e.Xor))
	case *expr.Cmp:
		return fmt.Sprintf("cmp %s reg %d %s", [...]string{"eq", "neq"}[e.Op], e.Register, hex.EncodeToString(e.Data))
	case *expr.Lookup:
		return fmt.Sprintf("lookup reg %d set %s invert %t", e.SourceRegister, e.SetName, e.Invert)
	case *expr.Dynset:
		return fmt.Sprintf("dynset %d reg_key %d set %s [ %d counters ]", e.Operation, e.SrcRegKey, e.SetName, len(e.Exprs))
	case *expr.Verdict:
		return strings.TrimSpace(fmt.Sprintf("verdict %d %s", e.Kind, e.Chain))
	}
	return "?"
}
