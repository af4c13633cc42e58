// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// forwarded is the first packet of a connection from one bridge to another.
func forwarded() policy.Packet {
	return policy.Packet{
		Hook: policy.HookForward, In: policy.Interface{Name: "br1"}, Out: policy.Interface{Name: "br2"},
		Source: netip.MustParseAddr("10.1.0.2"), Destination: netip.MustParseAddr("10.2.0.2"), Protocol: "tcp", Port: 80,
	}
}

// save writes a filter table as its save program does.
func save(policyOfForward string, rules ...string) string {
	return "# by iptables-save\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD " + policyOfForward + " [1:60]\n:MINE - [0:0]\n:DEEP - [0:0]\n" +
		"-A " + strings.Join(rules, "\n-A ") + "\nCOMMIT\n"
}

// decided returns what a table decides, as text.
func decided(t *testing.T, text string, p policy.Packet) string {
	t.Helper()
	s, err := parseSaved(policy.IPv4, text)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range s.Decide(p) {
		all = append(all, fmt.Sprintf("%s in %s", d.Outcome, d.Chain))
	}
	return strings.Join(all, ", ")
}

// TestWalk takes a packet through rules of every kind.
func TestWalk(t *testing.T) {
	t.Parallel()
	reply := forwarded().Reply()
	anything := forwarded()
	anything.Protocol, anything.Port = "", 0
	redirected := forwarded()
	redirected.Original = netip.MustParseAddrPort("203.0.113.1:8080")
	for name, test := range map[string]struct {
		packet policy.Packet
		policy string
		rules  []string
		want   string
	}{
		"policy":          {forwarded(), "DROP", []string{"FORWARD -i br3 -j ACCEPT"}, "drop in FORWARD"},
		"accept":          {forwarded(), "DROP", []string{"FORWARD -i br1 -o br2 -j ACCEPT"}, "accept in FORWARD"},
		"first verdict":   {forwarded(), "ACCEPT", []string{"FORWARD -s 10.1.0.0/24 -j ACCEPT", "FORWARD -j DROP"}, "accept in FORWARD"},
		"negated":         {forwarded(), "ACCEPT", []string{"FORWARD ! -i br1 -j DROP", "FORWARD ! -o br1 -j DROP"}, "drop in FORWARD"},
		"prefix of names": {forwarded(), "ACCEPT", []string{"FORWARD -i br+ -j DROP"}, "drop in FORWARD"},
		"other address":   {forwarded(), "ACCEPT", []string{"FORWARD -d 10.3.0.2/32 -j DROP"}, ""},
		"return": {forwarded(), "ACCEPT", []string{"FORWARD -j MINE", "MINE -j RETURN", "MINE -j DROP", "FORWARD -j ACCEPT"},
			"accept in FORWARD"},
		"goto": {forwarded(), "DROP", []string{"FORWARD -g MINE", "MINE -i br3 -j ACCEPT", "FORWARD -j ACCEPT"}, "drop in FORWARD"},
		"jump": {forwarded(), "ACCEPT", []string{"FORWARD -j MINE", "MINE -j DEEP", "DEEP -j REJECT --reject-with icmp-port-unreachable"},
			"drop in DEEP"},
		"log goes on":  {forwarded(), "ACCEPT", []string{`FORWARD -j LOG --log-prefix "a -j DROP "`, "FORWARD -j DROP"}, "drop in FORWARD"},
		"circle":       {forwarded(), "DROP", []string{"FORWARD -j MINE", "MINE -j DEEP", "DEEP -j MINE"}, "drop in FORWARD"},
		"port":         {forwarded(), "ACCEPT", []string{"FORWARD -p tcp -m tcp --dport 81 -j DROP", "FORWARD -p tcp -m multiport --dports 22,70:90 -j DROP"}, "drop in FORWARD"},
		"protocol":     {forwarded(), "ACCEPT", []string{"FORWARD -p udp -j DROP", "FORWARD -p icmp -j DROP", "FORWARD -p 6 -j DROP"}, "drop in FORWARD"},
		"any port":     {anything, "ACCEPT", []string{"FORWARD -p tcp -m tcp --dport 80 -j DROP"}, "may drop in FORWARD"},
		"state":        {forwarded(), "DROP", []string{"FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"}, "drop in FORWARD"},
		"state, reply": {reply, "DROP", []string{"FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT"}, "accept in FORWARD"},
		"direction": {reply, "ACCEPT", []string{"FORWARD -m conntrack --ctdir ORIGINAL -j DROP", "FORWARD -i br2 -m conntrack --ctdir REPLY -j DROP"},
			"drop in FORWARD"},
		"redirected": {redirected, "ACCEPT", []string{"FORWARD -m conntrack ! --ctstate DNAT -j DROP", "FORWARD -m conntrack --ctorigdst 203.0.113.0/24 -j DROP"},
			"drop in FORWARD"},
		"unknown match": {forwarded(), "DROP", []string{"FORWARD -m set --match-set mine src -j ACCEPT"}, "may accept in FORWARD, may drop in FORWARD"},
		"unknown match, negated": {forwarded(), "ACCEPT", []string{"FORWARD -m set ! --match-set mine src -j DROP", "FORWARD -j ACCEPT"},
			"may drop in FORWARD, accept in FORWARD"},
		"behind an unknown match": {forwarded(), "DROP", []string{"FORWARD -m set --match-set mine src -j MINE", "MINE -j ACCEPT", "MINE -j DROP"},
			"may accept in MINE, may drop in FORWARD"},
		"queue":        {forwarded(), "ACCEPT", []string{"FORWARD -j NFQUEUE --queue-num 0"}, "may drop in FORWARD"},
		"mark":         {forwarded(), "ACCEPT", []string{"FORWARD -m mark --mark 0x1/0x1 -j ACCEPT", "FORWARD -j MARK --set-xmark 0x1/0x1", "FORWARD -m mark --mark 0x1/0x1 -j DROP"}, "drop in FORWARD"},
		"honest":       {forwarded(), "ACCEPT", []string{"FORWARD -m rpfilter --validmark --invert -j DROP"}, ""},
		"comment":      {forwarded(), "ACCEPT", []string{`FORWARD -m comment --comment "! -i br1 -j ACCEPT" -j DROP`}, "drop in FORWARD"},
		"other family": {policy.Packet{Hook: policy.HookForward, Destination: netip.MustParseAddr("fd00::1")}, "DROP", []string{"FORWARD -j DROP"}, ""},
	} {
		if got := decided(t, save(test.policy, test.rules...), test.packet); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestWalkRedirects follows a published port as portmap writes it.
func TestWalkRedirects(t *testing.T) {
	t.Parallel()
	const text = `*nat
:PREROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-1 - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"blue\" id: \"c1\"" -m multiport --dports 8080 -j CNI-DN-1
-A CNI-DN-1 -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j MARK --set-xmark 0x2000/0x2000
-A CNI-DN-1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
COMMIT
`
	s, err := parseSaved(policy.IPv4, text)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Packet{
		Hook: policy.HookPrerouting, Source: netip.MustParseAddr("10.1.0.3"), Destination: netip.MustParseAddr("203.0.113.1"),
		IsLocal: true, Protocol: "tcp", Port: 8080,
	}
	to := func() string {
		for _, d := range s.Decide(p) {
			if d.Outcome == policy.Redirects {
				return d.To.String()
			}
		}
		return ""
	}
	if got := to(); got != "10.1.0.2:80" {
		t.Errorf("got %q", got)
	}
	for name, change := range map[string]func(){
		"another port": func() { p.Port = 8081 },
		"not local":    func() { p.Port, p.IsLocal = 8080, false },
		"an answer":    func() { p.IsLocal, p.IsReply = true, true },
	} {
		if change(); to() != "" {
			t.Errorf("%s: redirected to %s", name, to())
		}
	}
}

// TestSavedMalformed refuses what it does not know: a rule that was not read would look
// like one that is not there.
func TestSavedMalformed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"-A FORWARD -j DROP\n", "*filter\nrubbish\n", "*filter\n-A FORWARD -m comment --comment \"open\n"} {
		if _, err := parseSaved(policy.IPv4, text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// TestListed reads a table as it is listed, and refuses what it does not know.
func TestListed(t *testing.T) {
	t.Parallel()
	got, err := parseListed("-P FORWARD DROP\n-N CNI-FORWARD\n-A FORWARD -j CNI-FORWARD\n-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT\n")
	want := &savedTable{
		policies: map[string]string{chainForward: "DROP"},
		rules:    map[string][]rule{chainForward: {"-j CNI-FORWARD"}, chainCNIForward: {"-s 10.1.0.2/32 -j ACCEPT"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(savedTable{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"rubbish\n", "-A FORWARD -m comment --comment \"open\n"} {
		if _, err := parseListed(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
