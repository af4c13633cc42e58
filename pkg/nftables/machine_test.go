// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// packetOf is the first packet of a connection from one bridge to another.
func packetOf() policy.Packet {
	return policy.Packet{
		Hook: policy.HookForward, In: policy.Interface{Name: "br1", Index: 7}, Out: policy.Interface{Name: "br2", Index: 8},
		Source: netip.MustParseAddr("10.1.0.2"), Destination: netip.MustParseAddr("10.2.0.2"), Protocol: "tcp", Port: 80,
	}
}

// inGuard are rules in the base chain of a table, which drops the rest if drops says so,
// with a chain beside it that accepts.
func inGuard(drops bool, rules ...[]any) *Ruleset {
	id := foreignID{unix.NFPROTO_INET, "guard"}
	base := &chainOf{chain: chain{table: id.table, name: "passing", base: true, hook: nfForward, policyDrops: drops}}
	for i, r := range rules {
		base.rules = append(base.rules, anyRule{handle: uint64(i + 1), exprs: r})
	}
	helper := &chainOf{chain: chain{table: id.table, name: "helper"}, rules: []anyRule{{exprs: []any{acceptIt}}}}
	sets := map[setID]*elementsOf{
		{id, "ports"}: {isRead: true, isInterval: true, elements: []anyElement{
			{key: []byte{0, 0}, isEnd: true}, {key: []byte{0, 70}}, {key: []byte{0, 91}, isEnd: true},
		}},
		{id, "pairs"}: {isRead: true, isInterval: true, fields: []int{4, 2}, elements: []anyElement{
			{key: []byte{10, 2, 0, 0, 0, 80, 0, 0}, end: []byte{10, 2, 0, 255, 0, 80, 0, 0}},
		}},
		{id, "verdicts"}: {isRead: true, elements: []anyElement{
			{key: []byte(interfaceKey("br1")), verdict: toHelper}, {key: []byte(interfaceKey("br3")), verdict: dropIt},
		}},
		{id, "empty"}: {isRead: true},
	}
	return &Ruleset{chains: map[foreignID]map[string]*chainOf{id: {"passing": base, "helper": helper}}, sets: sets}
}

// exprsOf joins the parts of a rule.
func exprsOf(parts ...any) []any {
	var all []any
	for _, p := range parts {
		if some, are := p.([]expr.Any); are {
			for _, e := range some {
				all = append(all, e)
			}
			continue
		}
		all = append(all, p)
	}
	return all
}

// TestMachine takes a packet through rules of every kind.
func TestMachine(t *testing.T) {
	t.Parallel()
	l4proto := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
	isTCP := &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}}
	port := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	portNumber := func(op expr.CmpOp, n uint16) *expr.Cmp {
		return &expr.Cmp{Op: op, Register: 1, Data: binary.BigEndian.AppendUint16(nil, n)}
	}
	anything, reply, redirected := packetOf(), packetOf().Reply(), packetOf()
	anything.Protocol, anything.Port = "", 0
	redirected.Original = netip.MustParseAddrPort("203.0.113.1:8080")
	mark := &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}
	setMark := &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}
	one := []byte{1, 0, 0, 0}
	for name, test := range map[string]struct {
		packet policy.Packet
		drops  bool // by policy
		rules  [][]any
		want   string
	}{
		"policy":         {packetOf(), true, nil, "drop in passing"},
		"no policy":      {packetOf(), false, nil, ""},
		"accept":         {packetOf(), true, [][]any{exprsOf(iifname(), is("br1"), acceptIt)}, "accept in passing"},
		"not it":         {packetOf(), false, [][]any{exprsOf(iifname(), isNot("br1"), dropIt), exprsOf(oifname(1), is("br1"), dropIt)}, ""},
		"first":          {packetOf(), false, [][]any{exprsOf(noMatch{}, acceptIt), exprsOf(dropIt)}, "accept in passing"},
		"jump":           {packetOf(), true, [][]any{exprsOf(iifname(), is("br1"), toHelper)}, "accept in helper"},
		"return":         {packetOf(), true, [][]any{exprsOf(returnIt), exprsOf(acceptIt)}, "drop in passing"},
		"address":        {packetOf(), false, [][]any{exprsOf(nfproto(unix.NFPROTO_IPV6), dropIt), exprsOf(nfproto(unix.NFPROTO_IPV4), address(1, 16, 4), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{10, 2, 0, 2}}, dropIt)}, "drop in passing"},
		"network":        {packetOf(), false, [][]any{exprsOf(address(1, 16, 3), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{10, 2, 0}}, dropIt)}, "drop in passing"},
		"port":           {packetOf(), false, [][]any{exprsOf(l4proto, isTCP, port, portNumber(expr.CmpOpEq, 81), dropIt), exprsOf(l4proto, isTCP, port, portNumber(expr.CmpOpGte, 80), dropIt)}, "drop in passing"},
		"range":          {packetOf(), false, [][]any{exprsOf(port, &expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: []byte{0, 70}, ToData: []byte{0, 90}}, dropIt)}, ""},
		"any port":       {anything, false, [][]any{exprsOf(port, portNumber(expr.CmpOpEq, 80), dropIt)}, "may drop in passing"},
		"port, reply":    {reply, false, [][]any{exprsOf(port, portNumber(expr.CmpOpEq, 80), dropIt)}, "may drop in passing"},
		"state":          {packetOf(), true, [][]any{exprsOf(ctEstablished(), acceptIt)}, "drop in passing"},
		"state, reply":   {reply, true, [][]any{exprsOf(ctEstablished(), acceptIt)}, "accept in passing"},
		"direction":      {reply, false, [][]any{exprsOf(ctDirection(directionOriginal), dropIt), exprsOf(ctDirection(directionReply), dropIt)}, "drop in passing"},
		"redirected":     {redirected, false, [][]any{exprsOf(ctDNAT(), ctOriginalIPv4Destination(), compare(203), dropIt)}, "drop in passing"},
		"not redirected": {packetOf(), false, [][]any{exprsOf(ctDNAT(), dropIt), exprsOf(ctOriginalIPv4Destination(), compare(127), dropIt)}, ""},
		"honest":         {packetOf(), false, [][]any{exprsOf(fibMissing(), dropIt), exprsOf(fibInterface(), isNot("br1"), dropIt)}, ""},
		"mark":           {packetOf(), false, [][]any{exprsOf(mark, &expr.Cmp{Register: 1, Data: one}, acceptIt), exprsOf(constant{1, one}, setMark), exprsOf(mark, &expr.Cmp{Register: 1, Data: one}, dropIt)}, "drop in passing"},
		"set":            {packetOf(), false, [][]any{exprsOf(port, &expr.Lookup{SourceRegister: 1, SetName: "ports"}, dropIt)}, "drop in passing"},
		"not in a set":   {packetOf(), false, [][]any{exprsOf(port, &expr.Lookup{SourceRegister: 1, SetName: "ports", Invert: true}, dropIt)}, ""},
		"empty set":      {packetOf(), false, [][]any{exprsOf(port, lookup("empty"), dropIt), exprsOf(port, lookupNot("empty"), acceptIt)}, "accept in passing"},
		"set of pairs":   {packetOf(), false, [][]any{exprsOf(address(1, 16, 4), &expr.Payload{DestRegister: 9, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, lookup("pairs"), dropIt)}, "drop in passing"},
		"map":            {packetOf(), true, [][]any{exprsOf(iifname(), &expr.Lookup{SourceRegister: 1, SetName: "verdicts", IsDestRegSet: true})}, "accept in helper"},
		"lost set":       {packetOf(), false, [][]any{exprsOf(port, lookup("lost"), dropIt)}, "may drop in passing"},
		"unknown":        {packetOf(), true, [][]any{exprsOf(nil, acceptIt)}, "may accept in passing, may drop in passing"},
		"unknown, jump":  {packetOf(), true, [][]any{exprsOf(nil, toHelper), exprsOf(returnIt)}, "may accept in helper, may drop in passing"},
		"queue":          {packetOf(), false, [][]any{exprsOf(&expr.Verdict{Kind: expr.VerdictQueue})}, "may drop in passing"},
	} {
		var got []string
		for _, d := range inGuard(test.drops, test.rules...).Decide(test.packet) {
			got = append(got, fmt.Sprintf("%s in %s", d.Outcome, d.Chain))
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestMachineCounts has the plugin's own rules drop a packet where they count it: the rule
// that leads there is named, and where the drop is gone, none.
func TestMachineCounts(t *testing.T) {
	t.Parallel()
	counting, _ := packets.chainLayoutOf(chainDrop)
	leading := jumpTo(chainDrop)
	for name, test := range map[string]struct {
		counting []rule
		want     []policy.Decision
	}{
		"whole": {counting.rules, []policy.Decision{{
			Family: "inet", Table: tableName, Base: chainIsolation, Chain: chainStage2, Rule: leading.text, Handle: 7,
			IsOwn: true, Outcome: policy.Drops,
		}}},
		"without the drop": {counting.rules[:1], nil},
	} {
		id := foreignID{packets.family, tableName}
		chains := map[string]*chainOf{
			chainIsolation: {chain: chain{table: tableName, name: chainIsolation, base: true, hook: nfForward}, rules: []anyRule{
				{handle: 3, exprs: exprsOf(jumpTo(chainStage2).exprs)},
			}},
			chainStage2: {chain: chain{table: tableName, name: chainStage2}, rules: []anyRule{{handle: 7, exprs: exprsOf(leading.exprs)}}},
			chainDrop:   {chain: chain{table: tableName, name: chainDrop}},
		}
		for _, r := range test.counting {
			chains[chainDrop].rules = append(chains[chainDrop].rules, anyRule{handle: 9, exprs: exprsOf(r.exprs)})
		}
		got := (&Ruleset{chains: map[foreignID]map[string]*chainOf{id: chains}}).Decide(packetOf())
		if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMachineOther has IPv6 pass no rule for IPv4, and no chain of another hook.
func TestMachineOther(t *testing.T) {
	t.Parallel()
	p := packetOf()
	p.Source, p.Destination = netip.MustParseAddr("fd00:1::2"), netip.MustParseAddr("fd00:2::2")
	r := inGuard(false, exprsOf(ctOriginalIPv4Destination(), isNot("lo"), dropIt), exprsOf(address(1, 24, 16), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: p.Destination.AsSlice()}, dropIt))
	if got := r.Decide(p); got != nil {
		t.Errorf("got %+v", got)
	}
	p.Hook = policy.HookInput
	if got := inGuard(true).Decide(p); got != nil {
		t.Errorf("on another hook: %+v", got)
	}
}

// TestMachineRedirects follows a redirection by numbers, and by a map.
func TestMachineRedirects(t *testing.T) {
	t.Parallel()
	p := packetOf()
	p.Hook, p.Out, p.Destination, p.IsLocal, p.Port = policy.HookPrerouting, policy.Interface{}, netip.MustParseAddr("203.0.113.1"), true, 8080
	local := []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, 2)},
	}
	r := inGuard(false, exprsOf(local, constant{1, []byte{10, 2, 0, 2}}, constant{2, []byte{0, 80}},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2}))
	base := r.chains[foreignID{unix.NFPROTO_INET, "guard"}]["passing"]
	base.hook, base.isNAT = nfPrerouting, true
	got := r.Decide(p)
	if len(got) != 1 || got[0].To != netip.MustParseAddrPort("10.2.0.2:80") {
		t.Errorf("got %+v", got)
	}
	p.IsLocal = false
	if got := r.Decide(p); got != nil {
		t.Errorf("to another host: %+v", got)
	}
}
