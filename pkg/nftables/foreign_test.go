// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
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

// foreignDrops returns what a status says of a host.
func foreignDrops(t *testing.T, k *kernel) (forwarding, possible []string) {
	t.Helper()
	o, err := readSnapshot(t, k).ForeignDrops()
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
				blocks = []string{"chain through of table inet mine drops what it does not accept itself"}
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
		{"chain FORWARD of table ip filter drops what it does not accept itself"}, // of ip6, Obstacles tells
		{
			"chain helper of table ip filter has rules that may drop forwarded packets",
			"chain helper of table ip6 filter has rules that may drop forwarded packets",
		},
	}
	if diff := cmp.Diff(want, [][]string{forwarding, possible}); diff != "" {
		t.Error(diff)
	}
	o, err := readSnapshot(t, k).ForeignDrops()
	var b *ForwardBlocker
	if err != nil || !errors.As(o.Forwarding, &b) || !b.ByRule || b.Program != "" {
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

// TestForeignRulesUnread expects the calls of a runtime not to read the rules of other
// programs.
func TestForeignRulesUnread(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.otherProgram(func(h *host) {
		through := h.newTable(unix.NFPROTO_IPV4, "mine").newChain("through", baseChain(nfForward, 0, nfAccept))
		through.rules = [][]byte{some(dropIt)}
	})
	k.fail = func(_ int, m message) syscall.Errno {
		if m.kind == unix.NFT_MSG_GETRULE && m.attrs.text(unix.NFTA_RULE_TABLE) != tableName {
			return unix.ENOMEM
		}
		return 0
	}
	s := readSnapshot(t, k)
	err := errors.Join(s.Apply(oneMore(), nil), s.Check(sample()), s.Obstacles().All(), s.Remove(oneMore()))
	if err != nil {
		t.Error(err)
	}
	if _, err := s.ForeignDrops(); err == nil {
		t.Error("the rules were not read")
	}
}
