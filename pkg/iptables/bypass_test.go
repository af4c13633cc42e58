// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// kind is what a rule of another program is to the isolation behind it.
type kind string

const (
	harmless kind = "harmless" // no packet between isolated bridges passes by it
	possible kind = "possible" // one may: an ADD puts the isolation ahead
	certain  kind = "certain"  // CHECK fails, too
)

// aheadTests are rules at the head of FORWARD, with the chains that they lead to.
var aheadTests = map[string]struct {
	rule   string
	chains string
	want   kind
}{
	"unmarked jump":         {"-j CNI-FORWARD", "", certain},
	"goto":                  {"-g CNI-FORWARD", "", certain},
	"jump with matches":     {"-i lan0 -p tcp -m comment --comment x -j CNI-FORWARD", "", certain},
	"to published ports":    {"-j CNI-PUBLISHED", "", certain},
	"to their accept":       {"-s 10.0.0.0/8 -j CNI-PUBLISHED-ACCEPT", "", certain},
	"accept of addresses":   {"-s 10.88.0.0/16 -j ACCEPT", "", possible},
	"accept of a bridge":    {"-i br1 -j ACCEPT", "", possible},
	"of another interface":  {"-i br7.5 -j ACCEPT", "", possible},
	"accept by a wildcard":  {"-i br+ ! -o br1 -j ACCEPT", "", possible},
	"accept of all but one": {"! -i lan0 -o br2 -j ACCEPT", "", possible},
	"established":           {"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "", possible},
	"a program":             {"-p udp -j NFQUEUE --queue-num 0", "", possible},
	"return":                {"-s 10.88.0.0/16 -j RETURN", "", possible},
	"goto that ends":        {"-s 10.88.0.0/16 -g MINE", "-N MINE\n-A MINE -s 192.0.2.1/32 -j DROP\n", possible},
	"a chain that accepts":  {"-j MINE", "-N MINE\n-N DEEP\n-A MINE -i br2 -j DEEP\n-A DEEP -p udp -j ACCEPT\n", possible},
	"a chain to ours":       {"-j MINE", "-N MINE\n-A MINE -j CNI-FORWARD\n", possible},
	"from the outside":      {"-i lan0 -j ACCEPT", "", harmless},
	"to an open bridge":     {"-i br1 -o br4 -j ACCEPT", "", harmless},
	"drop":                  {"-s 10.88.0.0/16 -j DROP", "", harmless},
	"accept in a comment":   {`-m comment --comment "-j ACCEPT" -j LOG`, "", harmless},
	"to the isolation":      {`-j CNI-ISOLATION-STAGE-1`, "", harmless},
	"an empty chain":        {"-j DOCKER-USER", "", harmless},
	"a chain that returns":  {"-j MINE", "-N MINE\n-A MINE -s 10.88.0.0/16 -j RETURN\n", harmless},
	"of other interfaces":   {"-j MINE", "-N MINE\n-N DEEP\n-A MINE -o docker0 -j DEEP\n-A DEEP -j ACCEPT\n", harmless},
	"a circle":              {"-j MINE", "-N MINE\n-N DEEP\n-A MINE -j DEEP\n-A DEEP -j MINE\n", harmless},
}

// isolatedSample is sample with a network of two interfaces.
func isolatedSample(alone bool) policy.RuleSet {
	rs := sample(routedBy(container("br7", policy.SameBridge, policy.Allow, "10.7.0.2"), "br7.5"))
	rs.Alone = alone
	return rs
}

// snapshotOf returns what a host held when it was read.
func snapshotOf(t *testing.T, host *fakeTable) *Snapshot {
	t.Helper()
	f := &family{name: policy.IPv4, table: parse(t, host.list())}
	return &Snapshot{families: map[policy.Family]*family{policy.IPv4: f}}
}

// TestAhead puts a rule ahead of the isolation. CHECK fails where the isolation is
// certainly bypassed, also for rules of upstream's plugin; one ADD heals.
func TestAhead(t *testing.T) {
	t.Parallel()
	for name, test := range aheadTests {
		for _, alone := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				host := newFakeTable("-N DOCKER-USER\n" + test.chains)
				rs := isolatedSample(alone)
				applyTo(t, host, rs)
				if err := host.command("-I FORWARD " + test.rule); err != nil {
					t.Fatal(err)
				}
				s := snapshotOf(t, host)
				for _, err := range []error{s.Check(rs), s.CheckForeign(rs)} {
					if (err != nil) != (test.want == certain) {
						t.Errorf("got error %v for a rule that is %s", err, test.want)
					}
				}
				checkTold(t, s, test.rule, test.want)
				checkHealed(t, host, rs, test.rule, test.want)
			})
		}
	}
}

// checkTold wants the rule to be named as possible obstacle, unless it is harmless.
func checkTold(t *testing.T, s *Snapshot, r string, k kind) {
	t.Helper()
	says := "IPv4: rule " + r + " in FORWARD stands ahead of the isolation and may let its packets by"
	o := s.Obstacles()
	if err := o.All(); err != nil {
		t.Errorf("got obstacle %v", err)
	}
	switch got := o.Possible; {
	case k == harmless && got != nil:
		t.Errorf("got %v for a harmless rule", got)
	case k != harmless && (got == nil || got.Error() != says):
		t.Errorf("got %v, want %q", got, says)
	}
}

// checkHealed wants an ADD to put the isolation ahead of a rule that is not harmless, to
// leave the rule, and to change nothing else.
func checkHealed(t *testing.T, host *fakeTable, rs policy.RuleSet, r string, k kind) {
	t.Helper()
	before := host.list()
	applyTo(t, host, rs)
	if wrote := host.list() != before; wrote != (k != harmless) {
		t.Errorf("wrote %t for a rule that is %s", wrote, k)
	}
	rules := host.rules[chainForward]
	at, isolation := slices.Index(rules, r), slices.Index(rules, string(jumpStage1))
	if at < 0 || (isolation < at) != (k != harmless) {
		t.Errorf("got\n%s", strings.Join(rules, "\n"))
	}
	s := snapshotOf(t, host)
	if err := errors.Join(s.Check(rs), s.Obstacles().Possible); err != nil {
		t.Errorf("after the ADD: %v", err)
	}
}

// TestDockerStarts has Docker insert its chains ahead of the isolation. Those of its
// newer versions accept by a set of bridges, which nothing tells from the container's.
func TestDockerStarts(t *testing.T) {
	f := newFake(t, "iptables", "iptables-restore")
	apply(t, sample())
	const docker = `-N DOCKER
-N DOCKER-CT
-N DOCKER-FORWARD
-N DOCKER-USER
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -o docker0 -j DOCKER
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-I FORWARD -j DOCKER-FORWARD
-I FORWARD -j DOCKER-USER
`
	f.write("iptables", f.listing("iptables")+docker)
	if p := planApply(mustParse(f.listing("iptables")), policy.IPv4, sample()); len(p) > 0 {
		t.Errorf("Docker's rules name its bridge, and yet: %s", p.script())
	}
	const bySet = "-m set --match-set docker-ext-bridges-v4 dst -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
	f.write("iptables", f.listing("iptables")+"-A DOCKER-CT "+bySet+"\n")
	s := snapshotIn(t, policy.IPv4)
	if err := s.Check(sample()); err != nil {
		t.Errorf("CHECK fails: %v", err)
	}
	if err := s.Obstacles().Possible; err == nil || !strings.Contains(err.Error(), "rule -j DOCKER-FORWARD in FORWARD") {
		t.Errorf("got %v", err)
	}
	if err := s.Apply(sample(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Obstacles().Possible; err != nil {
		t.Errorf("after the ADD: %v", err)
	}
	rules := newFakeTable(f.listing("iptables")).rules[chainForward]
	if want := []string{string(jumpPublished), string(jumpStage1)}; !slices.Equal(rules[:2], want) {
		t.Errorf("got\n%s", strings.Join(rules, "\n"))
	}
}

// TestAheadOfNew isolates an interface that a rule ahead of the isolation accepts already.
func TestAheadOfNew(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	applyTo(t, host, sample())
	if err := host.command("-I FORWARD -i br7.5 -j ACCEPT"); err != nil {
		t.Fatal(err)
	}
	if p := planApply(mustParse(host.list()), policy.IPv4, sample()); len(p) > 0 {
		t.Errorf("the interface is nobody's yet, and yet: %s", p.script())
	}
	applyTo(t, host, isolatedSample(false))
	if got := host.rules[chainForward][1]; got != string(jumpStage1) {
		t.Errorf("got\n%s", host.list())
	}
}

// TestNobodyIsolated wants rules ahead to be nobody's business where nothing is
// isolated.
func TestNobodyIsolated(t *testing.T) {
	t.Parallel()
	rs := policy.Desired(container("br4", policy.Open, policy.Allow, "10.4.0.2"))
	host := newFakeTable("")
	applyTo(t, host, rs)
	if err := host.command("-I FORWARD -s 10.88.0.0/16 -j ACCEPT"); err != nil {
		t.Fatal(err)
	}
	if p := planApply(mustParse(host.list()), policy.IPv4, rs); len(p) > 0 {
		t.Errorf("got %s", p.script())
	}
	if found := newBypass(mustParse(host.list()), nil).found(); len(found) > 0 {
		t.Errorf("got %q", found)
	}
}
