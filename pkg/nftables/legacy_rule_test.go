// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// entry is a rule of iptables-legacy. Chains of the test have one rule each: that of
// FORWARD, the helper, and what ends them.
type entry struct {
	in, source       string // a name or a prefix of names, an address and its length
	out, match       string
	inverted         byte
	target           string // by name, or the standard one
	verdict          uint32
	isGoto, toHelper bool
}

var (
	legacyAccept = entry{verdict: ^uint32(1)}
	legacyDrop   = entry{verdict: verdictDrop}
	legacyReturn = entry{verdict: ^uint32(4)}
)

// part returns a match or a target.
func part(name string, data ...byte) []byte {
	p := make([]byte, verdictAt, verdictAt+len(data))
	copy(p[2:], name)
	p = append(p, data...)
	binary.NativeEndian.PutUint16(p, uint16(len(p)))
	return p
}

func (e entry) bytes(l legacyTable, helperAt uint32) []byte {
	b := make([]byte, l.matchesOffset)
	if e.source != "" {
		p := netip.MustParsePrefix(e.source)
		copy(b, p.Addr().AsSlice())
		for i := range p.Bits() {
			b[2*l.addressSize+i/8] |= 0x80 >> (i % 8)
		}
	}
	names := b[4*l.addressSize:]
	copy(names, e.in)
	copy(names[32:], slices.Repeat([]byte{0xff}, len(e.in)))
	copy(names[16:], e.out)
	copy(names[48:], slices.Repeat([]byte{0xff}, len(e.out)))
	if b[l.flagsOffset+1] = e.inverted; e.isGoto {
		b[l.flagsOffset] = l.isGoto
	}
	if e.match != "" {
		b = append(b, part(e.match, 1, 2, 3, 4, 5, 6, 7, 8)...)
	}
	binary.NativeEndian.PutUint16(b[l.targetOffset:], uint16(len(b)))
	if e.toHelper {
		e.verdict = helperAt
	}
	b = append(b, part(e.target, binary.NativeEndian.AppendUint32(nil, e.verdict)...)...)
	binary.NativeEndian.PutUint16(b[l.targetOffset+2:], uint16(len(b)))
	return b
}

// legacyHost returns a table with two rules in FORWARD, one in the helper, and a policy.
func legacyHost(l legacyTable, first, second, helper entry) *legacyRules {
	r := &legacyRules{legacyTable: l}
	for _, e := range []entry{helper, legacyReturn} {
		r.entries = append(r.entries, e.bytes(l, 0)...)
	}
	r.forwardAt = len(r.entries)
	for _, e := range []entry{first, second} {
		r.entries = append(r.entries, e.bytes(l, 0)...)
	}
	r.policyAt = len(r.entries)
	r.entries = append(r.entries, legacyAccept.bytes(l, 0)...)
	return r
}

// TestLegacyRules has a final drop of iptables-legacy be preceded by another rule.
func TestLegacyRules(t *testing.T) {
	t.Parallel()
	reject := entry{target: "REJECT"}
	for name, test := range map[string]struct {
		first, second, helper entry
		blocks                bool
	}{
		"nothing":               {entry{target: "LOG"}, legacyDrop, legacyReturn, true},
		"a reject":              {entry{target: "LOG"}, reject, legacyReturn, true},
		"a drop of some":        {entry{target: "LOG"}, entry{out: "docker0\x00", verdict: verdictDrop}, legacyReturn, false},
		"an accept of all":      {legacyAccept, legacyDrop, legacyReturn, false},
		"with a comment":        {entry{match: "comment", verdict: ^uint32(1)}, legacyDrop, legacyReturn, false},
		"with a match":          {entry{match: "conntrack", verdict: ^uint32(1)}, legacyDrop, legacyReturn, true},
		"its interface":         {entry{in: "br1\x00", verdict: ^uint32(1)}, legacyDrop, legacyReturn, false},
		"interfaces by prefix":  {entry{in: "br", verdict: ^uint32(1)}, legacyDrop, legacyReturn, false},
		"another interface":     {entry{in: "br10\x00", verdict: ^uint32(1)}, legacyDrop, legacyReturn, true},
		"all but its interface": {entry{in: "br1\x00", inverted: invertedIn, verdict: ^uint32(1)}, legacyDrop, legacyReturn, true},
		"some of its interface": {entry{in: "br1\x00", out: "eth0\x00", verdict: ^uint32(1)}, legacyDrop, legacyReturn, false},
		"a jump":                {entry{in: "br1\x00", toHelper: true}, legacyDrop, legacyAccept, false},
		"a jump and back":       {entry{in: "br1\x00", toHelper: true}, legacyDrop, legacyReturn, true},
		"a jump to a drop":      {entry{toHelper: true}, legacyAccept, legacyDrop, true},
		"a goto and back":       {entry{isGoto: true, toHelper: true}, legacyDrop, legacyReturn, false},
	} {
		for _, l := range legacyTables {
			found, err := legacyHost(l, test.first, test.second, test.helper).blockers(originsOf(oneMore()))
			if err != nil || (len(found) > 0) != test.blocks {
				t.Errorf("%s %s: got %v, %v", families[l.family], name, found, err)
			}
		}
	}
}

// TestLegacySource has rules that name source addresses.
func TestLegacySource(t *testing.T) {
	t.Parallel()
	accept := func(source string, inverted byte) entry {
		return entry{source: source, inverted: inverted, verdict: ^uint32(1)}
	}
	for i, test := range []struct {
		source   string
		inverted byte
		blocks   bool
	}{
		{"10.1.0.9/32", 0, false}, {"10.1.0.0/16", 0, false}, {"10.2.0.0/16", 0, true}, {"10.1.0.9/32", invertedSource, true},
	} {
		r := legacyHost(legacyTables[0], accept(test.source, test.inverted), legacyDrop, legacyReturn)
		found, err := r.blockers([]origin{{[]string{"br1"}, netip.MustParseAddr("10.1.0.9")}})
		if err != nil || (len(found) > 0) != test.blocks {
			t.Errorf("%d: got %v, %v", i, found, err)
		}
		for _, b := range found {
			if b.Program != "iptables-legacy" || !b.ByRule || b.Interface != "br1" {
				t.Errorf("got %+v", b)
			}
		}
	}
}

// TestLegacyMalformed cuts the entries off, and damages each of their bytes, without
// harm.
func TestLegacyMalformed(t *testing.T) {
	t.Parallel()
	for _, l := range legacyTables {
		whole := legacyHost(l, entry{match: "comment", toHelper: true}, legacyDrop, legacyReturn)
		origins := originsOf(oneMore())
		for at := range whole.entries {
			short := *whole
			short.entries = slices.Clone(whole.entries[:at])
			if _, err := short.blockers(origins); err == nil {
				t.Fatalf("%d bytes are no table", at)
			}
			damaged := *whole
			damaged.entries = slices.Clone(whole.entries)
			damaged.entries[at] ^= 0xff
			_, _ = damaged.blockers(origins)
		}
	}
}
