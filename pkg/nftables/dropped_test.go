// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// count makes an element as the kernel does for a packet.
func (t *hostTable) count(set, key string, packets, bytes uint64, left time.Duration) {
	number := func(kind int, n uint64) []byte { return attr(kind, binary.BigEndian.AppendUint64(nil, n)) }
	t.set(set).elements[key] = mustParse(slices.Concat(
		element{key: key}.encodeKey(),
		number(unix.NFTA_SET_ELEM_EXPIRATION, uint64(left.Milliseconds())),
		attrNested(unix.NFTA_SET_ELEM_EXPR, attrString(unix.NFTA_EXPR_NAME, "counter"), attrNested(unix.NFTA_EXPR_DATA,
			number(unix.NFTA_COUNTER_BYTES, bytes), number(unix.NFTA_COUNTER_PACKETS, packets)))))
}

// countAll has the kernel count in each set of both tables.
func (h *host) countAll() {
	one, other := interfaceKey("br1"), interfaceKey("br2")
	inet, bridge := h.table(), h.find(unix.NFPROTO_BRIDGE, tableName)
	inet.count(setDropped, one+other, 3, 252, keptFor-time.Minute)
	inet.count(setForged, other, 1, 84, keptFor)
	bridge.count(setFramesDropped, interfaceKey("veth1"), 1<<40, 1<<50, keptFor-time.Hour)
	bridge.count(setFramesForged, interfaceKey("veth2"), 2, 56, time.Second)
}

// counted returns a kernel that holds both tables, and has counted.
func counted(t *testing.T) (*kernel, policy.RuleSet) {
	t.Helper()
	rs := policy.Desired(isolatedOn("veth1", "10.1.0.2"), isolatedOn("veth2", "10.1.0.3"))
	k := holding(t, rs)
	k.host.countAll() // no generation comes of it
	return k, rs
}

func TestDrops(t *testing.T) {
	t.Parallel()
	k, _ := counted(t)
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	got, err := k.connect().drops(now)
	if err != nil {
		t.Fatal(err)
	}
	of := func(from, to string, reason policy.DropReason, packets, bytes uint64, last time.Time) policy.Drop {
		return policy.Drop{From: from, To: to, Reason: reason, CountedBy: policy.CountedByNFTables, Packets: packets, Bytes: bytes, Last: last}
	}
	want := []policy.Drop{
		of("br1", "br2", policy.DropIsolation, 3, 252, now.Add(-time.Minute)),
		of("br2", "", policy.DropForged, 1, 84, now),
		of("veth1", "", policy.DropFrame, 1<<40, 1<<50, now.Add(-time.Hour)),
		of("veth2", "", policy.DropForged, 2, 56, now.Add(time.Second-keptFor)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if drops, err := newKernel().connect().drops(now); err != nil || drops != nil {
		t.Errorf("without tables: %v, %v", drops, err)
	}
}

// TestCountsAreNobodys expects what the kernel counts to be no difference, to stay in
// spite of every call, and to keep no table.
func TestCountsAreNobodys(t *testing.T) {
	t.Parallel()
	k, rs := counted(t)
	whole := k.host.String()
	if err := check(t, k, rs); err != nil {
		t.Error(err)
	}
	k.commits = nil
	apply(t, k, rs)
	apply(t, k, rs, "br1")
	if len(k.commits) > 0 {
		t.Errorf("an ADD changes %q", kinds(k.lastCommit()))
	}
	held, err := readSnapshot(t, k).Held()
	if err != nil || len(held.Bridges) != 1 || len(held.Ports) != 2 {
		t.Errorf("held: %+v, %v", held, err)
	}
	k.wantHost(t, whole)
	more := policy.Desired(container("br7", policy.SameBridge, policy.Allow, "10.7.0.2"))
	apply(t, k, more)
	remove(t, k, more)
	k.wantHost(t, whole)
	k.otherProgram(func(h *host) { h.table().chain(chainStage2).rules = nil })
	apply(t, k, rs)
	k.wantHost(t, whole)
	remove(t, k, rs)
	k.wantHost(t, "")
}

// uncount makes the tables what they were before drops were counted.
func (h *host) uncount() {
	for _, t := range h.tables {
		for _, c := range t.chains {
			for i, r := range c.rules {
				c.rules[i] = withoutCount(r)
			}
		}
		for _, name := range []string{
			chainDrop, chainDropForged, chainFramesDrop, chainFramesDropForged,
			setDropped, setForged, setFramesDropped, setFramesForged,
		} {
			t.drop(name)
		}
	}
}

// withoutCount returns a rule that drops where another one jumps to what counts.
func withoutCount(rule []byte) []byte {
	exprs := mustExprs(rule)
	for i, e := range exprs {
		if v, is := e.(*expr.Verdict); is && strings.Contains(v.Chain, "drop") {
			exprs[i] = verdict(expr.VerdictDrop)[0]
		}
	}
	return ruleOf(exprs...)
}

// TestUncounted gives a table of a version that did not count what it lacks, in one
// transaction: so every packet meets the drops of the one version, or of the other.
func TestUncounted(t *testing.T) {
	t.Parallel()
	all, first := crowded()
	for name, rs := range map[string]policy.RuleSet{
		"few":  policy.Desired(isolatedOn("veth1", "10.1.0.2"), isolatedOn("veth2", "10.1.0.3"), container("br5", policy.Strict, policy.Allow, "10.5.0.2")),
		"many": addTo(first, all...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := holding(t, rs)
			k := holding(t, rs)
			k.otherProgram((*host).uncount)
			if err := check(t, k, rs); err == nil {
				t.Error("a check finds no difference")
			}
			k.commits = nil
			apply(t, k, rs, rs.Bridges[0].Name)
			if len(k.commits) != 1 {
				t.Errorf("%d transactions", len(k.commits))
			}
			if err := check(t, k, rs); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(sortedLines(fresh), sortedLines(k)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sortedLines returns what a kernel holds, in no order.
func sortedLines(k *kernel) []string {
	var lines []string
	for _, t := range k.host.tables {
		one := host{[]*hostTable{t}}
		lines = append(lines, strings.Split(one.String(), "\n")...)
	}
	slices.Sort(lines)
	return lines
}

// TestUncountedOthers has a table of a version that did not count keep what it drops for
// networks that a call does not know, and lose what a DEL removes.
func TestUncountedOthers(t *testing.T) {
	t.Parallel()
	own := policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2"))
	other := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2"))
	both := func() *kernel {
		k := holding(t, own)
		apply(t, k, other)
		k.otherProgram((*host).uncount)
		return k
	}
	k := both()
	apply(t, k, own)
	if err := check(t, k, other); err != nil {
		t.Errorf("an ADD: %v", err)
	}
	k = both()
	remove(t, k, other)
	if forged := readSnapshot(t, k).packets.forged(); len(forged) != 1 || len(forged[interfaceKey("br1")]) != 1 {
		t.Errorf("a DEL leaves %v", forged)
	}
	remove(t, k, own)
	k.wantHost(t, "")
}

// TestOtherDynset takes nothing for the plugin's rule that does not count every packet.
func TestOtherDynset(t *testing.T) {
	t.Parallel()
	counter := attrNested(unix.NFTA_DYNSET_EXPR, encodeAs("counter"))
	own := slices.Concat(attrString(unix.NFTA_DYNSET_SET_NAME, setDropped), attrUint32(unix.NFTA_DYNSET_SREG_KEY, 1),
		attrUint32(unix.NFTA_DYNSET_OP, unix.NFT_DYNSET_OP_UPDATE))
	timeout := func(milliseconds uint64) []byte {
		return attr(unix.NFTA_DYNSET_TIMEOUT, binary.BigEndian.AppendUint64(nil, milliseconds))
	}
	for name, test := range map[string]struct {
		attrs []byte
		own   bool
	}{
		"as written":            {slices.Concat(own, counter), true},
		"as the kernel has it":  {slices.Concat(own, timeout(0), counter, attrUint32(unix.NFTA_DYNSET_FLAGS, 0)), true},
		"nothing that counts":   {own, false},
		"another expression":    {slices.Concat(own, attrNested(unix.NFTA_DYNSET_EXPR, encodeAs("limit"))), false},
		"two":                   {slices.Concat(own, counter, counter), false},
		"two in a list":         {slices.Concat(own, attrNested(expr.NFTA_DYNSET_EXPRESSIONS, counter, counter)), false},
		"a timeout of its own":  {slices.Concat(own, timeout(1000), counter), false},
		"those that are absent": {slices.Concat(own, counter, attrUint32(unix.NFTA_DYNSET_FLAGS, unix.NFT_DYNSET_F_INV)), false},
		"a map":                 {slices.Concat(own, counter, attrUint32(unix.NFTA_DYNSET_SREG_DATA, 2)), false},
		"another set":           {slices.Concat(own, counter, attrString(unix.NFTA_DYNSET_SET_NAME, setForged)), false},
		"another key":           {slices.Concat(own, counter, attrUint32(unix.NFTA_DYNSET_SREG_KEY, 2)), false},
		"add":                   {slices.Concat(own, counter, attrUint32(unix.NFTA_DYNSET_OP, unix.NFT_DYNSET_OP_ADD)), false},
	} {
		exprs, err := parseExprs(attrNested(unix.NFTA_LIST_ELEM, encodeAs("dynset", test.attrs)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := newRule("", count(setDropped)).equals(exprs); got != test.own {
			t.Errorf("%s: taken for the plugin's: %t", name, got)
		}
	}
}
