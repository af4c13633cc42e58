// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// The rules of other programs, without those that only accept.
const (
	docker28 = `-N DOCKER
-N DOCKER-BRIDGE
-N DOCKER-FORWARD
-N DOCKER-INTERNAL
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-INTERNAL ! -s 192.0.2.0/24 -o internal0 -j DROP
-A DOCKER-INTERNAL ! -d 192.0.2.0/24 -i internal0 -j DROP
`
	docker20 = `-N DOCKER
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
`
	libvirt = `-N LIBVIRT_FWI
-N LIBVIRT_FWO
-A FORWARD -j LIBVIRT_FWI
-A FORWARD -j LIBVIRT_FWO
-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT
-A LIBVIRT_FWO -i virbr0 -j REJECT --reject-with icmp-port-unreachable
`
	ufw = `-N ufw-before-forward
-N ufw-reject-forward
-N ufw-user-forward
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
`
	finalReject = "-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n"
)

// foreignTests are rules of other programs in FORWARD, and how many of the rules there
// the jump to CNI-FORWARD comes behind, if it may.
var foreignTests = map[string]struct {
	rules string
	want  int
}{
	"nothing":                      {"", 0},
	"Docker 28":                    {docker28, 2},
	"Docker 20, by policy alone":   {docker20, 0},
	"libvirt":                      {libvirt, 1},
	"ufw":                          {ufw, 0},
	"Docker, ufw":                  {docker28 + ufw, 2},
	"ufw, Docker":                  {ufw + docker28, 4},
	"a reject at the end":          {docker28 + finalReject, 2},
	"a reject, Docker":             {finalReject + docker28, 0},
	"ufw that rejects":             {ufw + "-A ufw-reject-forward -j REJECT\n" + docker28, 0},
	"a plain rule":                 {"-A FORWARD ! -i lan1 -o lan1 -j DROP\n", 1},
	"drop of what is invalid":      {"-A FORWARD -m conntrack --ctstate INVALID -j DROP\n" + docker28, 3},
	"drop by addresses":            {"-A FORWARD -s 10.0.0.0/8 -j DROP\n" + docker28, 0},
	"a queue":                      {"-A FORWARD -j NFQUEUE --queue-num 0\n" + docker28, 0},
	"return":                       {"-A FORWARD -s 10.0.0.0/8 -j RETURN\n" + docker28, 0},
	"goto":                         {"-N MINE\n-A FORWARD -s 10.0.0.0/8 -g MINE\n" + docker28, 0},
	"accept of everything":         {"-A FORWARD -j ACCEPT\n" + docker28, 0},
	"accept of some":               {"-A FORWARD -i lan0 -j ACCEPT\n" + docker28, 3},
	"log":                          {"-A FORWARD -j LOG\n" + docker28, 3},
	"towards the world":            {"-A FORWARD -o wan0 -d 192.0.2.1/32 -j DROP\n" + docker28, 0},
	"from the world":               {"-I DOCKER-USER -i wan0 ! -s 192.0.2.1/32 -j DROP\n", 0},
	"from the world to Docker":     {docker28 + "-A DOCKER-USER -i wan0 -o docker0 -j DROP\n", 2},
	"from another":                 {"-A FORWARD -i docker0 -j DROP\n" + docker28, 3},
	"towards a network of ours":    {"-A FORWARD -i lan1 -o br1 -j DROP\n-A FORWARD -o br4 -j DROP\n" + docker28, 0},
	"from a network of ours":       {"-A FORWARD -i br1 ! -o docker0 -j DROP\n" + docker28, 0},
	"from ours to Docker's":        {"-A FORWARD -i br1 -o docker0 -j DROP\n", 1},
	"by a pattern":                 {"-A FORWARD -o br+ -j DROP\n" + docker28, 0},
	"the operator drops":           {"-N CNI-ADMIN\n-N CNI-FORWARD\n" + string("-A CNI-FORWARD "+jumpAdmin("CNI-ADMIN")) + "\n-A CNI-ADMIN -s 10.1.0.2/32 -j DROP\n" + docker28, 0},
	"the operator accepts":         {"-N CNI-ADMIN\n-N CNI-FORWARD\n" + string("-A CNI-FORWARD "+jumpAdmin("CNI-ADMIN")) + "\n-A CNI-ADMIN -s 10.1.0.2/32 -j ACCEPT\n" + docker28, 2},
	"a chain that jumps in a ring": {"-N MINE\n-N DEEP\n-A FORWARD -j MINE\n-A MINE -j DEEP\n-A DEEP -j MINE\n" + docker28, 3},
}

// foreignIn returns the foreign rules of a host with the uplink wan0, and with networks.
func foreignIn(t *testing.T, listing string, bridges ...policy.Bridge) *foreign {
	t.Helper()
	held := parse(t, listing)
	held.uplinks = func() map[string]bool { return map[string]bool{"wan0": true} }
	return newForeign(held, bridges, held.allRules)
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, test := range foreignTests {
		listing := newFakeTable("-N DOCKER-USER\n" + strings.ReplaceAll(test.rules, "-N DOCKER-USER\n", "")).list()
		if got := foreignIn(t, listing, sample().Bridges...).end(); got != test.want {
			t.Errorf("%s: got %d, want %d in\n%s", name, got, test.want, listing)
		}
	}
}

// TestBehindForeign adds a container on a host with other programs, and with the jump to
// CNI-FORWARD where upstream's plugin puts it, or where another program's restart leaves
// it. After one ADD the jump stands right behind what guards, and stays there.
func TestBehindForeign(t *testing.T) {
	t.Parallel()
	jump := "-I FORWARD " + string(jumpForward)
	for name, before := range map[string]struct {
		rules string
		ahead string // the rule that it comes right behind
	}{
		"empty":                      {docker28, "-j DOCKER-FORWARD"},
		"upstream's, at the head":    {docker28 + "-N CNI-FORWARD\n" + jump, "-j DOCKER-FORWARD"},
		"twice":                      {docker28 + "-N CNI-FORWARD\n" + jump + "\n" + jump, "-j DOCKER-FORWARD"},
		"ahead of a reject":          {docker28 + finalReject, "-j DOCKER-FORWARD"},
		"between":                    {"-N CNI-FORWARD\n-A FORWARD -j LOG\n-A FORWARD " + string(jumpForward) + "\n" + docker28 + ufw, "-j DOCKER-FORWARD"},
		"behind what lets all out":   {docker28 + "-N CNI-FORWARD\n-A FORWARD -j ACCEPT\n-A FORWARD " + string(jumpForward), "-j DOCKER-FORWARD"},
		"behind more than it must":   {docker28 + ufw + "-N CNI-FORWARD\n-A FORWARD " + string(jumpForward), "-j ufw-reject-forward"},
		"libvirt":                    {libvirt + docker28, "-j DOCKER-FORWARD"},
		"nothing that guards":        {ufw + docker20, string(jumpStage1)},
		"nothing that it may follow": {finalReject + docker28, string(jumpStage1)},
	} {
		host := newFakeTable(before.rules)
		foreignRules := withoutOwn(host.rules[chainForward])
		applyTo(t, host, sample())
		rules := host.rules[chainForward]
		at := slices.Index(rules, string(jumpForward))
		if at < 1 || rules[at-1] != before.ahead {
			t.Errorf("%s: got\n%s", name, strings.Join(rules, "\n"))
		}
		if rules[0] != string(jumpPublished) || rules[1] != string(jumpStage1) {
			t.Errorf("%s: the isolation is not ahead of all:\n%s", name, strings.Join(rules, "\n"))
		}
		if diff := cmp.Diff(foreignRules, withoutOwn(rules)); diff != "" {
			t.Errorf("%s: rules of others: %s", name, diff)
		}
		if p := planApply(mustParse(host.list()), policy.IPv4, sample()); len(p) > 0 {
			t.Errorf("%s: and yet: %s", name, p.script())
		}
		checkVerdicts(t, host, "br1", "br2", "br3")
	}
}

func withoutOwn(rules []string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return strings.Contains(r, "CNI-") })
}

// TestBehindIsNoDifference has upstream's plugin put the jump back to the head, and
// another program come later: CHECK passes, and one ADD moves nothing but the jump.
func TestBehindIsNoDifference(t *testing.T) {
	t.Parallel()
	host := newFakeTable(docker28)
	applyTo(t, host, sample())
	for _, command := range []string{"-D FORWARD " + string(jumpForward), "-I FORWARD 3 " + string(jumpForward)} {
		if err := host.command(command); err != nil {
			t.Fatal(err)
		}
	}
	if err := snapshotOf(t, host).Check(sample()); err != nil {
		t.Error(err)
	}
	p := planApply(mustParse(host.list()), policy.IPv4, sample())
	want := []string{"-D FORWARD " + string(jumpForward), "-I FORWARD 5 " + string(jumpForward)}
	if diff := cmp.Diff(want, p.lines()); diff != "" {
		t.Error(diff)
	}
}

// TestUnguarded names what the plugin's accepts open although FORWARD keeps it closed.
func TestUnguarded(t *testing.T) {
	t.Parallel()
	ours := "-N CNI-FORWARD\n-N CNI-ISOLATION-STAGE-2\n-A CNI-ISOLATION-STAGE-2 -o br1 -j DROP\n-A CNI-ISOLATION-STAGE-2 -o br2 -j DROP\n" +
		"-A FORWARD " + string(jumpForward) + "\n"
	for name, test := range map[string]struct {
		rules  string
		policy string
		want   []string // from where to where
	}{
		"behind":                  {docker28 + ours, "DROP", nil},
		"ahead":                   {ours + docker28, "ACCEPT", []string{"br1 docker0", "br2 docker0", "br1 internal0", "br2 internal0"}},
		"one of two behind":       {libvirt + ours + docker28, "ACCEPT", []string{"br1 docker0", "br2 docker0", "br1 internal0", "br2 internal0"}},
		"by policy":               {docker20 + ours, "DROP", []string{"br1 docker0", "br2 docker0"}},
		"by no policy":            {docker20 + ours, "ACCEPT", nil},
		"guarded by the operator": {"-A FORWARD -i br2 -o docker0 -m conntrack ! --ctstate DNAT -j DROP\n" + docker20 + ours, "DROP", []string{"br1 docker0"}},
		"open to everybody":       {"-A FORWARD -o lan1 -j ACCEPT\n" + ours, "DROP", nil},
		"towards the world":       {"-A FORWARD -i lan1 -o wan0 -j ACCEPT\n" + ours, "DROP", nil},
		"without a jump":          {docker28, "DROP", nil},
	} {
		listing := newFakeTable(test.rules).list()
		listing = strings.Replace(listing, "-P FORWARD ACCEPT", "-P FORWARD "+test.policy, 1)
		f := foreignIn(t, listing)
		var got []string
		for _, u := range f.unguarded() {
			got = append(got, u.Bridge+" "+u.Interface)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestIsZero takes what /proc/net has for a destination and a mask of zero bits.
func TestIsZero(t *testing.T) {
	t.Parallel()
	if !isZero("00000000") || !isZero("00") || isZero("00000A01") {
		t.Error("a prefix is mistaken")
	}
}
