// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Parts of rules that other programs write.
var (
	counter    = &expr.Counter{}
	dropIt     = &expr.Verdict{Kind: expr.VerdictDrop}
	acceptIt   = &expr.Verdict{Kind: expr.VerdictAccept}
	returnIt   = &expr.Verdict{Kind: expr.VerdictReturn}
	toHelper   = &expr.Verdict{Kind: expr.VerdictJump, Chain: "helper"}
	goToHelper = &expr.Verdict{Kind: expr.VerdictGoto, Chain: "helper"}
	reject     = &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH}
	number     = &expr.Immediate{Register: 1, Data: []byte{1, 0, 0, 0}}
)

// some returns a rule for those packets that a match lets through.
func some(parts ...expr.Any) []byte {
	match := []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{1, 0, 0, 0}}}
	return ruleOf(append(match, parts...)...)
}

// xtables returns a rule of iptables-nft with a match and a target.
func xtables(match, target string) []byte {
	part := func(kind string, nameAttr int, name string) []byte {
		return attrNested(unix.NFTA_LIST_ELEM, attrString(unix.NFTA_EXPR_NAME, kind),
			attrNested(unix.NFTA_EXPR_DATA, attrString(nameAttr, name)))
	}
	return slices.Concat(part("match", unix.NFTA_MATCH_NAME, match), part("target", unix.NFTA_TARGET_NAME, target))
}

// byMap returns a rule that looks its verdict up.
func byMap(name string) []byte {
	return ruleOf(&expr.Lookup{SourceRegister: 1, SetName: name, DestRegister: 0, IsDestRegSet: true})
}

// newMap adds a map of verdicts.
func (t *hostTable) newMap(name string, verdicts ...*expr.Verdict) {
	s := &hostSet{name, attributes{unix.NFTA_SET_NAME: []byte(name + "\x00")}, map[string]attributes{}}
	for i, v := range verdicts {
		e := attrNested(unix.NFTA_DATA_VERDICT, slices.Concat(
			attrUint32(unix.NFTA_VERDICT_CODE, uint32(v.Kind)), attrString(unix.NFTA_VERDICT_CHAIN, v.Chain)))
		key := string(rune('a' + i))
		s.elements[key] = attributes{
			unix.NFTA_SET_ELEM_KEY:  attr(unix.NFTA_DATA_VALUE, []byte(key)),
			unix.NFTA_SET_ELEM_DATA: e,
		}
	}
	t.sets = append(t.sets, s)
}

// foreignDrops returns what a status says of a host, for the container of the sample on
// br1.
func foreignDrops(t *testing.T, k *kernel) (forwarding, possible []string) {
	t.Helper()
	s := checked(t, k, oneMore())
	o, err := s.ForeignDrops()
	if err != nil {
		t.Fatal(err)
	}
	lines := func(err error) []string {
		if err == nil {
			return nil
		}
		return strings.Split(err.Error(), "\n")
	}
	return lines(o.Forwarding), lines(o.Possible)
}

// checked returns a snapshot after a CHECK, whose verdict does not matter here.
func checked(t *testing.T, k *kernel, rs policy.RuleSet) *Snapshot {
	t.Helper()
	s := readSnapshot(t, k)
	_ = s.Check(rs)
	return s
}

// TestForeignDrops has rules of other programs in a chain on the hook, and in one that
// it leads to. The chain then drops everything that it does not accept, or some packets.
func TestForeignDrops(t *testing.T) {
	t.Parallel()
	rules := func(r ...[]byte) [][]byte { return r }
	tests := map[string]struct {
		through, helper [][]byte
		blocks          bool
		mayDrop         []string // chains
	}{
		"nothing":                  {rules(acceptRule, some(acceptIt), counterRule), nil, false, nil},
		"a drop":                   {rules(ruleOf(dropIt)), nil, true, nil},
		"a counted drop":           {rules(some(acceptIt), ruleOf(counter, &expr.Log{}, dropIt)), nil, true, nil},
		"a reject":                 {rules(ruleOf(counter, reject)), nil, true, nil},
		"a reject of iptables":     {rules(xtables("comment", "REJECT")), nil, true, nil},
		"after an accept":          {rules(acceptRule, ruleOf(dropIt)), nil, false, nil},
		"after a return":           {rules(returnRule, ruleOf(dropIt)), nil, false, nil},
		"of some":                  {rules(some(dropIt)), nil, false, []string{"through"}},
		"of some by iptables":      {rules(xtables("limit", "REJECT")), nil, false, []string{"through"}},
		"a queue of iptables":      {rules(xtables("limit", "NFQUEUE")), nil, false, []string{"through"}},
		"a log of iptables":        {rules(xtables("limit", "LOG"), xtables("comment", "MARK")), nil, false, nil},
		"a queue of some":          {rules(some(&expr.Queue{Num: 1})), nil, false, []string{"through"}},
		"some, then all":           {rules(some(reject), ruleOf(dropIt)), nil, true, []string{"through"}},
		"by a jump":                {rules(ruleOf(counter, toHelper)), rules(ruleOf(dropIt)), true, nil},
		"by a goto":                {rules(ruleOf(goToHelper)), rules(ruleOf(reject)), true, nil},
		"by a jump for some":       {rules(some(toHelper)), rules(ruleOf(dropIt)), false, []string{"helper"}},
		"of some by a jump":        {rules(ruleOf(toHelper)), rules(some(dropIt)), false, []string{"helper"}},
		"behind a jump":            {rules(ruleOf(toHelper), ruleOf(dropIt)), rules(ruleOf(returnIt)), true, nil},
		"behind a goto":            {rules(ruleOf(goToHelper), ruleOf(dropIt)), rules(ruleOf(returnIt)), false, nil},
		"behind a jump that ends":  {rules(ruleOf(toHelper), ruleOf(dropIt)), rules(ruleOf(acceptIt)), false, nil},
		"where nothing leads to":   {nil, rules(ruleOf(dropIt)), false, nil},
		"by a map":                 {rules(byMap("drops")), nil, false, []string{"through"}},
		"by a map that leads on":   {rules(byMap("leads")), rules(ruleOf(dropIt)), false, []string{"helper"}},
		"a number in the register": {rules(ruleOf(number, dropIt)), nil, true, nil},
	}
	for name, test := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			k := holding(t, sample())
			k.otherProgram(func(h *host) {
				other := h.newTable(unix.NFPROTO_INET, "mine")
				other.newMap("drops", acceptIt, dropIt)
				other.newMap("leads", acceptIt, toHelper)
				other.newChain("through", baseChain(nfForward, 0, nfAccept)).rules = test.through
				other.newChain("helper", nil).rules = test.helper
				other.newChain("in", baseChain(1, 0, nfAccept)).rules = [][]byte{ruleOf(dropIt), some(dropIt)}
			})
			var blocks, possible []string
			if test.blocks {
				blocks = []string{`chain through of table inet mine drops by a rule what comes from "br1"`}
			}
			for _, chain := range test.mayDrop {
				possible = append(possible, "chain "+chain+" of table inet mine has rules that may drop forwarded packets")
			}
			gotBlocks, gotPossible := foreignDrops(t, k)
			if diff := cmp.Diff([][]string{blocks, possible}, [][]string{gotBlocks, gotPossible}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFlowtables finds those of the families whose packets are forwarded, firewalld's
// among them.
func TestFlowtables(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	if _, possible := foreignDrops(t, k); possible != nil {
		t.Errorf("without one: %q", possible)
	}
	k.otherProgram(func(h *host) {
		h.newTable(unix.NFPROTO_INET, firewalldTable).flowtables = []string{"fastpath"}
		h.newTable(unix.NFPROTO_IPV4, "mine").flowtables = []string{"a", "b"}
		h.newTable(unix.NFPROTO_NETDEV, "early").flowtables = []string{"c"}
	})
	_, possible := foreignDrops(t, k)
	want := []string{
		"flowtable fastpath of table inet firewalld", "flowtable a of table ip mine", "flowtable b of table ip mine",
	}
	if diff := cmp.Diff(want, possible); diff != "" {
		t.Error(diff)
	}
}

// TestForeignDropsOf finds the tables that packets pass, and none that are known.
func TestForeignDropsOf(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.otherProgram(func(h *host) {
		for _, table := range []struct {
			family byte
			name   string
			policy uint32
		}{
			{unix.NFPROTO_IPV4, "filter", nfAccept}, {unix.NFPROTO_IPV6, "filter", nfDrop},
			{unix.NFPROTO_BRIDGE, "filter", nfAccept}, {unix.NFPROTO_INET, "firewalld", nfAccept},
		} {
			t := h.newTable(table.family, table.name)
			t.newChain("FORWARD", baseChain(nfForward, 0, table.policy)).rules = [][]byte{
				some(toHelper), some(&expr.Verdict{Kind: expr.VerdictJump, Chain: "CNI-ISOLATION-STAGE-2"}), ruleOf(dropIt),
			}
			t.newChain("helper", nil).rules = [][]byte{ruleOf(dropIt), some(dropIt)}
			t.newChain("CNI-ISOLATION-STAGE-2", nil).rules = [][]byte{some(dropIt)}
		}
	})
	apply(t, k, sample()) // the plugin's own rules drop, too
	forwarding, possible := foreignDrops(t, k)
	want := [][]string{
		{ // of ip6, Obstacles tells
			`chain FORWARD of table ip filter drops by a rule what comes from "br1"`,
			`chain FORWARD of table inet firewalld drops by a rule what comes from "br1"`,
		},
		{
			"chain helper of table ip filter has rules that may drop forwarded packets",
			"chain helper of table ip6 filter has rules that may drop forwarded packets",
		},
	}
	if diff := cmp.Diff(want, [][]string{forwarding, possible}); diff != "" {
		t.Error(diff)
	}
	o, err := checked(t, k, oneMore()).ForeignDrops()
	var b *ForwardBlocker
	if err != nil || !errors.As(o.Forwarding, &b) || !b.ByRule || b.Program != "iptables" || b.Interface != "br1" {
		t.Errorf("got %+v, %v: no program's policy is at fault", b, err)
	}
	if o, err := new(Snapshot).ForeignDrops(); err != nil || o.All() != nil || o.Possible != nil {
		t.Errorf("without tables: %v, %v", o, err)
	}
}

// TestForeignDropsFail has each query fail, and another program change tables meanwhile.
func TestForeignDropsFail(t *testing.T) {
	t.Parallel()
	dropping := func() *kernel {
		k := newKernel()
		k.otherProgram(func(h *host) {
			other := h.newTable(unix.NFPROTO_IPV4, "mine")
			other.newMap("drops", dropIt)
			other.newChain("through", baseChain(nfForward, 0, nfAccept)).rules = [][]byte{byMap("drops")}
		})
		return k
	}
	for n := range 2 {
		k := dropping()
		s := readSnapshot(t, k)
		first := k.requests
		k.fail = func(i int, _ message) syscall.Errno { return map[int]syscall.Errno{first + n: unix.ENOMEM}[i] }
		if o, err := s.ForeignDrops(); !errors.Is(err, unix.ENOMEM) || o.Possible != nil {
			t.Errorf("query %d: got %v, %v", n, o, err)
		}
		k = dropping()
		s = readSnapshot(t, k)
		first = k.requests
		k.interrupt = func(i int) bool { return i == first+n }
		if o, err := s.ForeignDrops(); err != nil || o.Possible == nil || strings.Contains(o.Possible.Error(), "\n") {
			t.Errorf("dump %d interrupted: got %v, %v", n, o, err)
		}
	}
}

// TestForeignRulesRead expects the calls of a runtime to read the rules of other programs
// only in base chains of the hook, in those that all packets go on to, and where they are
// few.
func TestForeignRulesRead(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.otherProgram(func(h *host) {
		mine := h.newTable(unix.NFPROTO_IPV4, "mine")
		mine.newChain("through", baseChain(nfForward, 0, nfAccept)).rules = [][]byte{some(dropIt), ruleOf(toHelper), ruleOf(dropIt)}
		mine.newChain("helper", nil).rules = [][]byte{some(&expr.Verdict{Kind: expr.VerdictJump, Chain: "deep"})}
		mine.newChain("deep", nil).rules = [][]byte{some(dropIt)}
		mine.newChain("in", baseChain(1, 0, nfAccept)).rules = [][]byte{ruleOf(dropIt)}
		crowded := h.newTable(unix.NFPROTO_IPV4, "crowded").newChain("through", baseChain(nfForward, 0, nfAccept))
		for range maxRulesRead {
			crowded.rules = append(crowded.rules, some(dropIt))
		}
		crowded.rules = append(crowded.rules, ruleOf(dropIt))
	})
	var read []string
	k.fail = func(_ int, m message) syscall.Errno {
		if table := m.attrs.text(unix.NFTA_RULE_TABLE); m.kind == unix.NFT_MSG_GETRULE && table != tableName {
			read = append(read, table+" "+m.attrs.text(unix.NFTA_RULE_CHAIN))
		}
		return 0
	}
	s := readSnapshot(t, k)
	if err := errors.Join(s.Apply(oneMore(), nil), s.Check(sample())); err != nil || read != nil {
		t.Fatalf("got error %v, and read %q", err, read)
	}
	if err := checked(t, k, oneMore()).Obstacles().Forwarding; err == nil || err.Error() != `chain through of table ip mine drops by a rule what comes from "br1"` {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"mine through", "mine helper"}, read); diff != "" {
		t.Error(diff)
	}
}

// matching returns a rule for packets that match some expressions.
func matching(verdict expr.Any, match ...expr.Any) []byte { return ruleOf(append(match, verdict)...) }

// TestForeignOrigin has the rules of a final drop be preceded by one that names the
// container's interface or address, or another's.
func TestForeignOrigin(t *testing.T) {
	t.Parallel()
	inBy := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}
	source := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
	twoBytes := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 2}
	source6 := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 16}
	destination := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	mask := &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 255, 254, 0}, Xor: make([]byte, 4)}
	is := func(data ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	isNot := func(data ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: data} }
	name := func(text string) []byte { return []byte(text + "\x00") }
	tcp := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is(6)}
	inSet := func(set string) *expr.Lookup { return &expr.Lookup{SourceRegister: 1, SetName: set} }
	for name, test := range map[string]struct {
		ahead  []byte
		helper []byte // rule
		blocks bool
	}{
		"nothing":                 {counterRule, nil, true},
		"its interface":           {matching(acceptIt, inBy, is(name("br1")...)), nil, false},
		"its interface, padded":   {matching(acceptIt, inBy, is([]byte(interfaceKey("br1"))...)), nil, false},
		"interfaces by prefix":    {matching(acceptIt, inBy, is('b', 'r')), nil, false},
		"another interface":       {matching(acceptIt, inBy, is(name("br10")...)), nil, true},
		"all but its interface":   {matching(acceptIt, inBy, isNot(name("br1")...)), nil, true},
		"out by its interface":    {matching(acceptIt, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, is(name("br1")...)), nil, true},
		"some from its interface": {matching(acceptIt, append([]expr.Any{inBy, is(name("br1")...)}, tcp...)...), nil, false},
		"a set with it":           {matching(acceptIt, inBy, inSet("ours")), nil, false},
		"a set without it":        {matching(acceptIt, inBy, inSet("others")), nil, true},
		"its address":             {matching(acceptIt, source, is(10, 1, 0, 9)), nil, true}, // and not that of IPv6
		"its IPv6 address":        {matching(acceptIt, source6, is(netip.MustParseAddr("fd01::9").AsSlice()...)), nil, true},
		"a jump":                  {matching(toHelper, inBy, is(name("br1")...)), ruleOf(acceptIt), false},
		"a jump that drops":       {matching(toHelper, inBy, is(name("br1")...)), ruleOf(dropIt), true},
		"a goto":                  {matching(goToHelper, inBy, is(name("br1")...)), ruleOf(acceptIt), false},
		"a goto without an end":   {matching(goToHelper, inBy, is(name("br1")...)), some(dropIt), false},
		"a jump for some":         {matching(toHelper, append([]expr.Any{inBy, is(name("br1")...)}, tcp...)...), ruleOf(acceptIt), false},
		"a drop of some":          {matching(dropIt, append([]expr.Any{inBy, is(name("br1")...)}, tcp...)...), nil, true},
	} {
		if got := blocksBehind(t, oneMore(), test.ahead, test.helper); got != test.blocks {
			t.Errorf("%s: got %t", name, got)
		}
	}
	only4 := policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.9"))
	for name, test := range map[string]struct {
		ahead  []byte
		blocks bool
	}{
		"its address":     {matching(acceptIt, source, is(10, 1, 0, 9)), false},
		"its /16":         {matching(acceptIt, twoBytes, is(10, 1)), false},
		"its /23":         {matching(acceptIt, source, mask, is(10, 1, 0, 0)), false},
		"another address": {matching(acceptIt, source, is(10, 1, 0, 8)), true},
		"another /23":     {matching(acceptIt, source, mask, is(10, 1, 2, 0)), true},
		"a destination":   {matching(acceptIt, destination, is(10, 1, 0, 9)), true},
		"both":            {matching(acceptIt, inBy, is(name("br1")...), source, is(10, 1, 0, 9)), false},
		"one of the two":  {matching(acceptIt, inBy, is(name("br2")...), source, is(10, 1, 0, 9)), true},
	} {
		if got := blocksBehind(t, only4, test.ahead, nil); got != test.blocks {
			t.Errorf("IPv4, %s: got %t", name, got)
		}
	}
}

// blocksBehind reports whether a final drop behind a rule is told of.
func blocksBehind(t *testing.T, rs policy.RuleSet, ahead, helper []byte) bool {
	t.Helper()
	k := holding(t, sample())
	k.otherProgram(func(h *host) {
		mine := h.newTable(unix.NFPROTO_INET, "mine")
		mine.newNames("ours", "br0", "br1")
		mine.newNames("others", "br0", "br10")
		mine.newChain("through", baseChain(nfForward, 0, nfAccept)).rules = [][]byte{ahead, ruleOf(dropIt)}
		mine.newChain("helper", nil).rules = [][]byte{helper}
	})
	return checked(t, k, rs).Obstacles().Forwarding != nil
}

// newNames adds a set of interfaces.
func (t *hostTable) newNames(name string, interfaces ...string) {
	s := &hostSet{name, attributes{unix.NFTA_SET_NAME: []byte(name + "\x00")}, map[string]attributes{}}
	for _, i := range interfaces {
		key := interfaceKey(i)
		s.elements[key] = attributes{unix.NFTA_SET_ELEM_KEY: attr(unix.NFTA_DATA_VALUE, []byte(key))}
	}
	t.sets = append(t.sets, s)
}
