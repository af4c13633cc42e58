// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestIndependentReader has a library that knows nothing of the plugin find every rule that the
// backend iptables can write, by its words, and no other rule.
func TestIndependentReader(t *testing.T) {
	t.Parallel()
	onEachVariant(t, func(t *testing.T, h *host.Host) { testReader(t, h, true) })
}

// TestIndependentReaderAlone does so on a kernel without nf_tables, where fewer packets are exempt
// from the isolation.
func TestIndependentReaderAlone(t *testing.T) {
	onVariant(t, "legacy", func(t *testing.T, h *host.Host) {
		withoutNFTables(t, h)
		testReader(t, h, false)
	})
}

// readNetwork is a network whose rules are looked for, with its container.
type readNetwork struct {
	place
	bridge    string
	gateway   string // the interface that routes, where it is not the bridge
	container *host.Container
}

func testReader(t *testing.T, h *host.Host, hasTable bool) {
	r := reader{hasTable: hasTable, adminChains: []string{"CNI-ADMIN", "OPERATORS"}}
	r.holdsNothing(t)
	var networks []*readNetwork
	places := append(slices.Clone(everyPlace), place{"isolated-strict", "allow"}, place{"isolated-strict", "deny"})
	for i, p := range slices.Concat(places, places) {
		networks = append(networks, readNetworkOf(t, h, i+1, p, i >= len(places)))
	}
	for i, n := range networks {
		must(n.container.Call(h.Firewall, "ADD"))(t)
		must(n.container.Call(h.Firewall, "CHECK"))(t)
		if i == 0 { // no other network's rule is there yet
			r.holds(t, networks[:1], "after the first ADD")
		}
	}
	r.holds(t, networks, "after the last ADD")
	must(networks[0].container.Call(h.Firewall, "ADD"))(t)
	must(h.Run(h.Firewall, "restore"))(t)
	r.holds(t, networks, "added again, and restored")

	for i, n := range networks {
		must(n.container.Call(h.Firewall, "DEL"))(t)
		ok(t, n.container.Del())
		if i == len(networks)/2 {
			r.holds(t, networks[i+1:], "after half of the DELs")
		}
	}
	r.remains(t)
}

// readNetworkOf makes a network. The first of all has an admin chain of its own.
func readNetworkOf(t *testing.T, h *host.Host, i int, p place, hasGateway bool) *readNetwork {
	t.Helper()
	n := &readNetwork{place: p, bridge: fmt.Sprintf("br%d", i)}
	conf := p.firewall()
	conf["backend"] = "iptables"
	if i == 1 {
		conf["iptablesAdminChainName"] = "OPERATORS"
	}
	n.container = plain(t, h, host.Dual(fmt.Sprintf("net%d", i), n.bridge, i, conf), fmt.Sprintf("container%d", i))
	if hasGateway {
		behindGateway(t, h, n.container, n.bridge, i)
		n.gateway = n.bridge + ".5"
	}
	return n
}

// reader knows which rules there must be.
type reader struct {
	hasTable    bool
	adminChains []string
}

// wantedRule is a rule in the words that a user would look for it by.
type wantedRule struct {
	chain string
	words []string
}

type ruleList []wantedRule

// add adds a rule. Its text has the comment in single quotes, and then the target.
func (list *ruleList) add(chain, format string, operands ...any) {
	text := fmt.Sprintf(format, operands...)
	before, rest, hasComment := strings.Cut(text, "'")
	words := strings.Fields(before)
	if hasComment {
		comment, behind, _ := strings.Cut(rest, "'")
		words = append(append(words, comment), strings.Fields(behind)...)
	}
	*list = append(*list, wantedRule{chain, words})
}

// The comments of the rules.
const (
	readPublished = "-m comment --comment 'CNI firewall plugin rules (publishedPorts: allow)'"
	readIsolation = "-m comment --comment 'CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)'"
	readAdmin     = "-m comment --comment 'CNI firewall plugin admin overrides'"
	readForward   = "-m comment --comment 'CNI firewall plugin rules'"
)

// remaining are the rules that stay when all containers are gone.
func (r reader) remaining() ruleList {
	var list ruleList
	list.add("FORWARD", readForward+" -j CNI-FORWARD")
	for _, chain := range r.adminChains {
		list.add("CNI-FORWARD", "%s -j %s", readAdmin, chain)
	}
	return list
}

// wanted are the rules of networks in one family.
func (r reader) wanted(networks []*readNetwork, family iptables.Protocol) ruleList {
	list := r.remaining()
	if slices.ContainsFunc(networks, func(n *readNetwork) bool { return n.PublishedPorts == "allow" }) {
		list.add("FORWARD", "-m conntrack --ctstate DNAT "+readPublished+" -j CNI-PUBLISHED")
		if family == iptables.ProtocolIPv4 {
			list.add("CNI-PUBLISHED-ACCEPT", "-m conntrack --ctorigdst 127.0.0.0/8 "+readPublished+" -j RETURN")
		}
		for _, chain := range r.adminChains {
			list.add("CNI-PUBLISHED-ACCEPT", "%s -j %s", readAdmin, chain)
		}
		list.add("CNI-PUBLISHED-ACCEPT", readPublished+" -j ACCEPT")
	}
	if slices.ContainsFunc(networks, func(n *readNetwork) bool { return n.isolates() }) {
		list.add("FORWARD", readIsolation+" -j CNI-ISOLATION-STAGE-1")
		list.add("CNI-ISOLATION-STAGE-1", readIsolation+" -j RETURN")
		list.add("CNI-ISOLATION-STAGE-2", readIsolation+" -j RETURN")
	}
	for _, n := range networks {
		list = append(list, n.addresses(family)...)
		list = append(list, n.published(r.hasTable)...)
		list = append(list, n.stages(family)...)
	}
	return list
}

// addresses are the rules that accept what the container sends, and the replies.
func (n *readNetwork) addresses(family iptables.Protocol) (list ruleList) {
	address := n.container.IPv4 + "/32"
	if family == iptables.ProtocolIPv6 {
		address = n.container.IPv6 + "/128"
	}
	list.add("CNI-FORWARD", "-d %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", address)
	list.add("CNI-FORWARD", "-s %s -j ACCEPT", address)
	return list
}

// each calls a function with each interface of the network, and the comment that its
// rules have: the bridge's is given.
func (n *readNetwork) each(ofBridge string, do func(name, comment string)) {
	do(n.bridge, ofBridge)
	if n.gateway != "" {
		do(n.gateway, n.ofGroup())
	}
}

func (n *readNetwork) ofGroup() string {
	return fmt.Sprintf("-m comment --comment 'CNI firewall plugin rules (network of %s)'", n.bridge)
}

// published are the rules for redirected packets. Replies are exempt where the table drops
// what a forged connection would have sent.
func (n *readNetwork) published(hasTable bool) (list ruleList) {
	if n.PublishedPorts != "allow" {
		return nil
	}
	n.each(readPublished, func(name, comment string) {
		list.add("CNI-PUBLISHED", "-o %s -m conntrack --ctstate DNAT --ctdir ORIGINAL %s -j CNI-PUBLISHED-ACCEPT", name, comment)
		if n.isolates() && hasTable {
			list.add("CNI-PUBLISHED", "-i %s -m conntrack --ctstate DNAT --ctdir REPLY %s -j CNI-PUBLISHED-ACCEPT", name, comment)
		}
	})
	return list
}

// stages are the rules of the isolation.
func (n *readNetwork) stages(family iptables.Protocol) (list ruleList) {
	if !n.isolates() {
		return nil
	}
	upstreams, target := "same-bridge", "RETURN"
	if n.separates() {
		upstreams, target = "isolated", "DROP"
	}
	ofPolicy := fmt.Sprintf("-m comment --comment 'CNI firewall plugin rules (ingressPolicy: %s)'", upstreams)
	n.each(ofPolicy, func(name, comment string) {
		list.add("CNI-ISOLATION-STAGE-1", "-i %[1]s ! -o %[1]s %[2]s -j CNI-ISOLATION-STAGE-2", name, comment)
	})
	n.each(readIsolation, func(name, comment string) {
		list.add("CNI-ISOLATION-STAGE-2", "-o %s %s -j DROP", name, comment)
	})
	within := func(in, out, comment, target string) {
		list.add("CNI-ISOLATION-STAGE-1", "-i %s -o %s %s -j %s", in, out, comment, target)
	}
	switch {
	case n.gateway != "":
		within(n.bridge, n.gateway, n.ofGroup(), target)
		within(n.gateway, n.bridge, n.ofGroup(), target)
		if n.separates() {
			within(n.gateway, n.gateway, n.ofGroup(), target)
		}
	case n.separates():
		within(n.bridge, n.bridge, ofPolicy, target)
	}
	return append(list, n.strict(family)...)
}

// strict are the rules against what comes in by another interface than the network's.
func (n *readNetwork) strict(family iptables.Protocol) (list ruleList) {
	if !n.isStrict() {
		return nil
	}
	drops := []string{"--ctstate INVALID,UNTRACKED"}
	switch {
	case n.PublishedPorts != "allow":
		drops = append(drops, "--ctdir ORIGINAL")
	case family == iptables.ProtocolIPv4:
		drops = append(drops, "--ctorigdst 127.0.0.0/8")
		fallthrough
	default:
		drops = append(drops, "! --ctstate DNAT --ctdir ORIGINAL")
	}
	n.each("-m comment --comment 'CNI firewall plugin rules (ingressPolicy: strict)'", func(name, comment string) {
		for _, match := range drops {
			list.add("CNI-ISOLATION-STAGE-1", "! -i %[1]s -o %[1]s -m conntrack %[2]s %[3]s -j DROP", name, match, comment)
		}
	})
	return list
}

func (r reader) holdsNothing(t *testing.T) {
	t.Helper()
	r.compare(t, "before", nil, func(iptables.Protocol) ruleList { return nil })
}

func (r reader) holds(t *testing.T, networks []*readNetwork, when string) {
	t.Helper()
	if len(networks) == 1 {
		r.adminChains = []string{"OPERATORS"}
	}
	r.compare(t, when, r.adminChains, func(f iptables.Protocol) ruleList { return r.wanted(networks, f) })
}

func (r reader) remains(t *testing.T) {
	t.Helper()
	r.compare(t, "after the last DEL", r.adminChains, func(iptables.Protocol) ruleList { return r.remaining() })
}

// compare wants both families to hold a list of rules, and as many in each chain: so no
// others. Chains of the operator's are empty.
func (r reader) compare(t *testing.T, when string, empty []string, wanted func(iptables.Protocol) ruleList) {
	t.Helper()
	for _, family := range []iptables.Protocol{iptables.ProtocolIPv4, iptables.ProtocolIPv6} {
		ipt := must(iptables.New(iptables.IPFamily(family)))(t)
		want := map[string]int{"INPUT": 0, "FORWARD": 0, "OUTPUT": 0}
		for _, chain := range empty {
			want[chain] = 0
		}
		for _, rule := range wanted(family) {
			want[rule.chain]++
			if found, err := ipt.Exists("filter", rule.chain, rule.words...); err != nil || !found {
				t.Errorf("%s, family %d: not found in %s: %q (%v)", when, family, rule.chain, rule.words, err)
			}
		}
		for _, chain := range must(ipt.ListChains("filter"))(t) {
			n, isWanted := want[chain]
			rules := slices.DeleteFunc(must(ipt.List("filter", chain))(t), func(line string) bool { return !strings.HasPrefix(line, "-A ") })
			if !isWanted || len(rules) != n {
				t.Errorf("%s, family %d: %s has %d rules, and not %d:\n%s", when, family, chain, len(rules), n, strings.Join(rules, "\n"))
			}
			delete(want, chain)
		}
		if len(want) > 0 {
			t.Errorf("%s, family %d: chains are missing: %v", when, family, want)
		}
	}
}
