// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cni-isolation/firewall/pkg/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func container(bridge string, p policy.IngressPolicy, ports policy.PublishedPorts, addresses ...string) policy.Attachment {
	a := policy.Attachment{Bridge: bridge, IngressPolicy: p, PublishedPorts: ports, AdminChain: "CNI-ADMIN"}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return a
}

func parse(t *testing.T, listing string) *table {
	t.Helper()
	parsed, err := parseTable(listing)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// bring makes a table hold a rule set and fails if the kernel would refuse.
func bring(t *testing.T, f *fakeTable, rs policy.RuleSet) {
	t.Helper()
	p := missing(parse(t, f.list()), rs)
	if err := f.restore(p.script()); err != nil {
		t.Fatalf("%v in\n%s", err, p.script())
	}
	if rest := missing(parse(t, f.list()), rs); len(rest) > 0 {
		t.Fatalf("still missing in\n%s\n%s", f.list(), rest.script())
	}
}

// TestGolden compares what an empty host holds after one ADD, for each policy,
// answer about published ports and family.
func TestGolden(t *testing.T) {
	t.Parallel()
	const file = "testdata/rules.txtar"
	got := new(txtar.Archive)
	for _, p := range policy.IngressPolicies {
		for _, ports := range policy.PublishedPortsValues {
			for _, family := range policy.BothFamilies.List() {
				host := newFakeTable("")
				rs := policy.Desired(container("cni0", p, ports, "10.4.0.2", "fd00::2"))
				bring(t, host, rs.In(family))
				name := strings.Join([]string{string(p), string(ports), family.String()}, "/")
				got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(host.list())})
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(txtar.Format(got))); diff != "" {
		t.Error(diff)
	}
}

// sample is a rule set with something of everything.
func sample() policy.RuleSet {
	return policy.Desired(
		container("br1", policy.SameBridge, policy.Allow, "10.1.0.2", "10.1.0.3"),
		container("br2", policy.Isolated, policy.Allow, "10.2.0.2"),
		container("br3", policy.SameBridge, policy.Deny, "10.3.0.2"),
		container("br4", policy.Open, policy.Allow, "10.4.0.2"),
	).In(policy.IPv4)
}

// others are rules that are not the plugin's, and stay in their order whatever
// it does.
var others = []string{
	"-N DOCKER-USER",
	"-A FORWARD -j DOCKER-USER",
	"-A FORWARD -i lan0 -j ACCEPT",
	"-A CNI-FORWARD -s 10.9.0.2/32 -j ACCEPT",
	"-A CNI-ISOLATION-STAGE-1 -i br9 ! -o br9 -m comment --comment \"CNI isolation plugin rules\" -j CNI-ISOLATION-STAGE-2",
	"-A CNI-ADMIN -s 192.0.2.1/32 -j DROP",
}

// TestHealing damages the chains in random ways and expects one plan to put all
// right: nothing missing, nothing of others lost or reordered.
func TestHealing(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		host := newFakeTable("")
		bring(t, host, sample())
		for _, line := range others {
			if err := host.command(line); err != nil {
				t.Fatal(err)
			}
		}
		damage(rng, host)
		before := foreign(host)
		bring(t, host, sample())
		if diff := cmp.Diff(before, foreign(host)); diff != "" {
			t.Fatalf("rules of others were changed: %s", diff)
		}
		bypass(t, host)
	}
}

// damage deletes, repeats and moves rules of the chains that the plugin writes.
func damage(rng *rand.Rand, host *fakeTable) {
	for range 1 + rng.IntN(6) {
		chain := written[rng.IntN(len(written))]
		rules := host.rules[chain]
		if len(rules) == 0 {
			continue
		}
		from, to := rng.IntN(len(rules)), rng.IntN(len(rules))
		r := rules[from]
		switch rng.IntN(4) {
		case 0:
			if ours(r) {
				host.rules[chain] = slices.Delete(rules, from, from+1)
			}
		case 1:
			if ours(r) {
				host.rules[chain] = slices.Insert(rules, to, r)
			}
		case 2:
			host.rules[chain] = slices.Insert(slices.Delete(rules, from, from+1), to, r)
		case 3:
			host.rules[chain] = slices.Insert(rules, to, "-j RETURN")
		}
	}
}

func ours(r string) bool {
	return !slices.ContainsFunc(others, func(line string) bool { return strings.HasSuffix(line, " "+r) })
}

// foreign returns the rules that are not the sample's, in their order.
func foreign(host *fakeTable) map[string][]string {
	clean := newFakeTable("")
	for _, line := range missing(mustParse(clean.list()), sample()).lines() {
		_ = clean.command(line)
	}
	left := map[string][]string{}
	for chain, rules := range host.rules {
		for _, r := range rules {
			if !slices.Contains(clean.rules[chain], r) {
				left[chain] = append(left[chain], r)
			}
		}
	}
	return left
}

func mustParse(listing string) *table {
	t, err := parseTable(listing)
	if err != nil {
		panic(err)
	}
	return t
}

// packet is one that is forwarded: of a new connection, or, with a direction, of
// one that the host redirected.
type packet struct{ in, out, redirected string }

// bypass fails if a packet between two isolated bridges gets out of the stages, or
// is accepted, without having been dropped, and if one to a published port does
// not pass. It follows the rules by itself, so that a mistake in the plan's idea of
// order shows.
func bypass(t *testing.T, host *fakeTable) {
	t.Helper()
	for _, p := range packets() {
		allows := map[string]string{"ORIGINAL": p.out, "REPLY": p.in}[p.redirected] // the bridge with the port
		want := "DROP"
		switch {
		case allows == "br1" || allows == "br2":
			want = "ACCEPT"
		case p.in == p.out && p.in != "br2":
			want = ""
		}
		if got := verdict(host, "FORWARD", p); got != want {
			t.Fatalf("%+v: got verdict %q, want %q in\n%s", p, got, want, host.list())
		}
	}
}

func packets() []packet {
	var all []packet
	for _, in := range []string{"br1", "br2", "br3"} {
		for _, out := range []string{"br1", "br2", "br3"} {
			for _, redirected := range []string{"", "ORIGINAL", "REPLY"} {
				all = append(all, packet{in, out, redirected})
			}
		}
	}
	return all
}

// verdict walks a packet through a chain. Empty means that the walk came to
// CNI-FORWARD or to the end.
func verdict(host *fakeTable, chain string, p packet) string {
	for _, text := range host.rules[chain] {
		if !p.matches(text) {
			continue
		}
		switch target := rule(text).target(); target {
		case "DROP", "ACCEPT":
			return target
		case "RETURN", chainCNIForward:
			return ""
		default:
			if v := verdict(host, target, p); v != "" {
				return v
			}
		}
	}
	return ""
}

// matches knows of conditions what the sample's rules have.
func (p packet) matches(text string) bool {
	for _, condition := range []struct {
		option, word string
		want         bool
	}{
		{"-i ", p.in, true}, {"! -o ", p.out, false}, {"-o ", p.out, true},
		{"--ctstate ", map[bool]string{true: "DNAT"}[p.redirected != ""], true}, {"--ctdir ", p.redirected, true},
	} {
		if _, after, has := strings.Cut(text, condition.option); has {
			word, rest, _ := strings.Cut(after, " ")
			if (word == condition.word) != condition.want {
				return false
			}
			text = rest
		}
	}
	return !strings.HasPrefix(text, "-s ") && !strings.HasPrefix(text, "-d ")
}

// TestRemoval takes the bridges out one after the other.
func TestRemoval(t *testing.T) {
	t.Parallel()
	host := newFakeTable("")
	bring(t, host, sample())
	for _, line := range others[:4] {
		if err := host.command(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []string{"br1", "br2", "br3", "br4"} {
		rs := sample()
		rs.Bridges = slices.DeleteFunc(rs.Bridges, func(x policy.Bridge) bool { return x.Name != b })
		rs.Addresses = slices.DeleteFunc(rs.Addresses, func(p netip.Prefix) bool {
			return p.Addr().As4()[1] != b[2]-'0'
		})
		p := present(parse(t, host.list()), rs)
		if err := host.restore(p.script()); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if strings.Contains(host.list(), b) {
			t.Errorf("%s is left in\n%s", b, host.list())
		}
	}
	want := newFakeTable(`
-N DOCKER-USER
-N CNI-ADMIN
-N CNI-FORWARD
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -i lan0 -j ACCEPT
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -s 10.9.0.2/32 -j ACCEPT`)
	if diff := cmp.Diff(want.rules, host.rules); diff != "" {
		t.Error(diff)
	}
}

// TestStagesStay keeps the stages while anybody else uses them.
func TestStagesStay(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"a bridge of another's":     others[4],
		"a rule in stage 2":         "-A CNI-ISOLATION-STAGE-2 -o lan0 -j DROP",
		"a jump from FORWARD":       "-A FORWARD -i x -j CNI-ISOLATION-STAGE-1",
		"a jump from another chain": "-A CNI-ADMIN -i x -j CNI-ISOLATION-STAGE-1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newFakeTable("")
			bring(t, host, sample())
			if err := host.command(line); err != nil {
				t.Fatal(err)
			}
			if err := host.restore(present(parse(t, host.list()), sample()).script()); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(host.order, chainStage1) || !strings.Contains(host.list(), strings.SplitN(line, " ", 3)[2]) {
				t.Errorf("gone in\n%s", host.list())
			}
		})
	}
}

// TestPolicyChange expects what no longer belongs to go with the next ADD.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	for _, from := range policy.IngressPolicies {
		for _, to := range policy.IngressPolicies {
			for _, ports := range policy.PublishedPortsValues {
				host, want := newFakeTable(""), newFakeTable("")
				bring(t, host, policy.Desired(container("br1", from, policy.Allow, "10.1.0.2")))
				rs := policy.Desired(container("br1", to, ports, "10.1.0.2"))
				bring(t, host, rs)
				bring(t, want, rs)
				if len(host.rules[chainPublished]) == 0 { // the empty chain may stay, with what leads there and from there
					host.rules[chainForward] = slices.DeleteFunc(host.rules[chainForward], func(r string) bool { return r == string(jumpPublished) })
					host.rules[chainAccept] = nil
				}
				for _, chain := range written {
					got, wanted := slices.Sorted(slices.Values(host.rules[chain])), slices.Sorted(slices.Values(want.rules[chain]))
					if !from.Isolates() || to.Isolates() {
						if diff := cmp.Diff(wanted, got); diff != "" {
							t.Errorf("%s to %s, %s: %s", from, to, chain, diff)
						}
					} else if strings.HasPrefix(chain, "CNI-I") && strings.Contains(strings.Join(got, "\n"), "br1") {
						t.Errorf("%s to %s: %s has %q", from, to, chain, got)
					}
				}
			}
		}
	}
}

// TestUpstream starts from what upstream's plugin writes.
func TestUpstream(t *testing.T) {
	t.Parallel()
	const upstreams = `
-N CNI-ADMIN
-N CNI-FORWARD
-N CNI-ISOLATION-STAGE-1
-N CNI-ISOLATION-STAGE-2
-A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT
-A CNI-ISOLATION-STAGE-1 -i br1 -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j DROP
-A CNI-ISOLATION-STAGE-1 -i br1 ! -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
-A CNI-ISOLATION-STAGE-2 -o br1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP
-A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
`
	denied := policy.Desired(container("br1", policy.Isolated, policy.Deny, "10.1.0.2"))
	if p := missing(parse(t, newFakeTable(upstreams).list()), denied); len(p) > 0 {
		t.Errorf("with publishedPorts deny the rules are upstream's, got changes\n%s", p.script())
	}
	allowed := policy.Desired(container("br1", policy.Isolated, policy.Allow, "10.1.0.2"))
	for _, line := range missing(parse(t, newFakeTable(upstreams).list()), allowed).lines() {
		if !strings.Contains(line, chainPublished) || strings.HasPrefix(line, "-D") {
			t.Errorf("the upgrade does more than add the rules of published ports: %s", line)
		}
	}
	host := newFakeTable(upstreams)
	if err := host.restore(present(parse(t, host.list()), allowed).script()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(host.list(), "br1") || strings.Contains(host.list(), "10.1.0.2") {
		t.Errorf("upstream's rules are left in\n%s", host.list())
	}
}
