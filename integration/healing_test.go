// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/integration/host"
)

// TestHealing damages the rules of a running container. CHECK tells, and one ADD
// puts them right.
func TestHealing(t *testing.T) {
	t.Parallel()
	onEachFamily(t, func(t *testing.T, p *patient) {
		for _, d := range damages {
			p.heal(t, d)
		}
	})
}

// TestEveryRule deletes one rule after the other.
func TestEveryRule(t *testing.T) {
	t.Parallel()
	onEachFamily(t, func(t *testing.T, p *patient) {
		rules := p.ownRules()
		for _, purpose := range purposes {
			rule, found := rules[purpose.rule]
			if p.family == "ip6" && strings.Contains(purpose.rule, "127.0.0.0/8") {
				continue
			}
			if !found {
				t.Errorf("there is no %s", purpose.rule)
				continue
			}
			delete(rules, purpose.rule)
			p.heal(t, damage{
				name: "without " + rule, script: "$i -D " + rule, names: "missing " + rule,
				probe: purpose.probe, becomes: purpose.becomes,
			})
		}
		for _, rule := range rules {
			t.Errorf("a rule whose purpose is not told: %s", rule)
		}
	})
}

// patient is a host whose rules are damaged and healed, in one family, because
// CHECK names but the first thing that is wrong.
type patient struct {
	*world
	h               *host.Host
	program, family string // as the scripts call them
	address         string // of the container that CHECK and ADD are called for
	probes          map[string]probe
	golden          string
}

func onEachFamily(t *testing.T, body func(t *testing.T, p *patient)) {
	t.Helper()
	inEachFamily(t, onEachVariant, body)
}

// on is a way to run a test on hosts: onEachVariant, onNFTables.
type on func(t *testing.T, body func(t *testing.T, h *host.Host))

func inEachFamily(t *testing.T, on on, body func(t *testing.T, p *patient)) {
	t.Helper()
	for _, in := range []family{"IPv4", "IPv6"} {
		t.Run(string(in), func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, h *host.Host) { body(t, newPatient(t, h, in)) })
		})
	}
}

func newPatient(t *testing.T, h *host.Host, in family) *patient {
	t.Helper()
	p := &patient{
		world: newWorld(t, h, place{"isolated", "allow"}, place{"same-bridge", "allow"}),
		h:     h, program: "iptables", family: "ip", probes: map[string]probe{},
	}
	container := p.networks[0].server
	p.address = container.IPv4 + "/32"
	abroad := probe{family: in, protocol: "TCP", client: container, server: p.outside, address: p.outside.IPv4}
	if in == "IPv6" {
		p.program, p.family, p.address, abroad.address = "ip6tables", "ip6", container.IPv6+"/128", p.outside.IPv6
	}
	for name, port := range map[string]int{toAbroad: containerPort, toForbidden: portForbidden} {
		ok(t, p.outside.Serve(port))
		abroad.port = port
		p.probes[name] = abroad
	}
	p.probes[abroadToForbidden] = probe{
		family: in, protocol: "TCP", client: p.outside, server: p.networks[0].peer, port: forbiddenPort + 1,
		address: map[family]string{"IPv4": host.HostIPv4, "IPv6": host.HostIPv6}[in],
	}
	ok(t, p.networks[0].peer.Serve(portForbidden))
	for _, way := range p.world.probes() {
		if way.family == in && !way.itself {
			p.probes[strings.TrimPrefix(way.String(), string(in)+" ")] = way
		}
	}
	p.checkAllOpen(t)
	p.protect(t, h)
	p.shell(t, forbid(h))
	p.golden = state(t, h)
	return p
}

// forbid returns the script of an operator who forbids a port, and closes FORWARD
// where the plugin opens it.
func forbid(h *host.Host) string {
	if h.Backend.HasTable() {
		return nftForbidden
	}
	return forbiddenAgain
}

func (p *patient) shell(t *testing.T, script string) {
	t.Helper()
	shell(t, p.h, "i="+p.program+"; family="+p.family+"; "+script)
}

// ownRules returns the rules that the container needs, by what they say without
// comment and address.
func (p *patient) ownRules() map[string]string {
	_, text, _ := strings.Cut(p.golden, "# "+p.program+"\n")
	text, _, _ = strings.Cut(text, "# ")
	rules := map[string]string{}
	for line := range strings.Lines(text) {
		rule, isRule := strings.CutPrefix(strings.TrimSpace(line), "-A ")
		chain, _, _ := strings.Cut(rule, " ")
		others := func(word string) bool { return word == "br2" || isAddress(word) && word != p.address }
		if !isRule || chain == "CNI-ADMIN" || slices.ContainsFunc(strings.Fields(rule), others) {
			continue
		}
		rules[strings.ReplaceAll(withoutComment(rule), p.address, "ADDRESS")] = rule
	}
	return rules
}

func isAddress(word string) bool {
	return strings.HasSuffix(word, "/32") || strings.HasSuffix(word, "/128")
}

func withoutComment(rule string) string {
	before, comment, found := strings.Cut(rule, `-m comment --comment "`)
	if !found {
		return rule
	}
	_, after, _ := strings.Cut(comment, `" `)
	return before + after
}

// heal damages the rules and has them healed.
func (p *patient) heal(t *testing.T, d damage) {
	t.Helper()
	container := p.networks[0].server
	if d.becomes == "" {
		d.becomes = host.Open
	}
	harmless := p.opensNothing(d)
	p.shell(t, d.script)
	if harmless {
		p.expect(t, d, host.Blocked, "damaged, with the table beside it")
	} else {
		p.expect(t, d, d.becomes, "damaged")
	}

	damaged := state(t, p.h)
	message := complaint(t, container, p.h.Firewall)
	for _, word := range strings.Fields(d.names) {
		if !strings.Contains(message, word) {
			t.Errorf("%s: CHECK names no %s: %s", d.name, word, message)
			break
		}
	}
	same(t, damaged, state(t, p.h), d.name+": CHECK")

	must(container.Call(p.h.Firewall, "ADD"))(t)
	if d.all {
		// One ADD isolates every bridge that has containers.
		now := state(t, p.h)
		same(t, strings.Join(linesWith(canonical(p.golden), "CNI-PUBLISHED"), "\n"), strings.Join(linesWith(canonical(now), "CNI-PUBLISHED"), "\n"), d.name+": published ports after one ADD")
		if diff := gocmp.Diff(isolation(p.golden), isolation(now)); diff != "" {
			t.Errorf("%s: isolation after one ADD (-golden +now):\n%s", d.name, diff)
		}
		p.protect(t, p.h)
	}
	must(container.Call(p.h.Firewall, "CHECK"))(t)
	healed := host.Blocked
	if d.becomes == host.Blocked {
		healed = host.Open
	}
	p.shell(t, d.undo)
	same(t, canonical(p.golden), canonical(state(t, p.h)), d.name+": ADD")
	p.expect(t, d, healed, "healed")
}

// opensNothing reports whether what a damage opens, as rules of iptables that isolate are
// concerned, stays closed: the table isolates, too.
func (p *patient) opensNothing(d damage) bool {
	isolating := []string{fromPeer, fromOther, fromOtherOneWay, toOtherOneWay}
	return !p.h.Backend.HasTable() && d.becomes == host.Open && slices.Contains(isolating, d.probe)
}

// isolation returns the rules that drop, and what leads to them.
func isolation(text string) []string {
	return linesWith(canonical(text), "CNI-ISOLATION-STAGE-", "chain isolation",
		"set isolated_bridges", "set same_bridge", "set blocked_within", "set published_ports")
}

func (p *patient) expect(t *testing.T, d damage, want host.Verdict, when string) {
	t.Helper()
	if d.probe == "" {
		return
	}
	way, found := p.probes[d.probe]
	if !found {
		t.Fatalf("%s: there is no probe %s", d.name, d.probe)
	}
	if diff := difference([]probe{way}, map[string]string{way.String(): string(want)}); diff != "" {
		t.Errorf("%s: %s %s (-want +got):\n%s", d.name, when, d.probe, diff)
	}
}

// complaint returns the message of a CHECK that must fail.
func complaint(t *testing.T, c *host.Container, plugin string) string {
	t.Helper()
	stdout, err := c.Call(plugin, "CHECK")
	if err == nil {
		t.Errorf("CHECK of %s finds nothing", c.Name)
		return ""
	}
	return errorObject(t, stdout).Msg
}

// errorObject reads the standard output of a call that failed: one JSON object,
// with a code and a message, and nothing else.
func errorObject(t *testing.T, stdout string) types.Error {
	t.Helper()
	var object types.Error
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&object)
	if err == nil && decoder.More() {
		err = fmt.Errorf("there is more behind it")
	}
	if err != nil || object.Code == 0 || object.Msg == "" {
		t.Errorf("not one error object: %v: %s", err, stdout)
	}
	return object
}
