// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cni-isolation/firewall/pkg/link"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// fakeSight is a host whose default route leads by the interface uplink.
type fakeSight struct {
	host      *fakeHost
	decide    func(policy.Packet) []policy.Decision
	unread    error
	forwards  bool
	addresses []netip.Addr
	routes    map[string]string // by interface
	texts     int               // how often a rule's was asked for
}

func (s *fakeSight) Tables() (policy.Tables, error) { return s, s.unread }

func (s *fakeSight) Decide(p policy.Packet) []policy.Decision {
	if s.decide == nil {
		return nil
	}
	return s.decide(p)
}

func (s *fakeSight) Text(d policy.Decision) string {
	s.texts++
	return fmt.Sprintf("rule %d", d.Handle)
}

func (s *fakeSight) Addresses() ([]netip.Addr, error) { return s.addresses, nil }

func (s *fakeSight) WayTo(a netip.Addr) (link.Way, error) {
	for bridge, prefix := range s.routes {
		if netip.MustParsePrefix(prefix).Contains(a) {
			return link.Way{Index: s.host.links.links[bridge].Index}, nil
		}
	}
	return link.Way{Index: s.host.links.links["uplink"].Index}, nil
}

func (s *fakeSight) ForwardingSysctl(_ policy.Family, in string) (string, bool, error) {
	return "net.ipv4.conf." + in + ".forwarding", s.forwards, nil
}

// explained returns a host with three containers of two networks, and what it is asked by.
func explained(t *testing.T) (*fakeSight, func(from, to string) string) {
	t.Helper()
	h, _ := twoBridges(t, policy.NFTables)
	h.plug("br1", "c12")
	h.next++
	h.links.links["uplink"] = link.Link{Index: h.next, Name: "uplink"}
	h.add(attached(policy.NFTables, "br1", "c12", policy.SameBridge, "10.1.0.3"))
	h.add(attached(policy.NFTables, "br2", "d2", policy.Isolated, "10.2.0.2"))
	s := &fakeSight{
		host: h, forwards: true, addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		routes: map[string]string{"br1": "10.1.0.0/24", "br2": "10.2.0.0/24"},
	}
	return s, func(from, to string) string {
		t.Helper()
		fw := h.engine()
		fw.sight = s
		x, err := fw.Explainer()
		ok(t, err)
		answer, err := x.Explain(from, to)
		if err != nil {
			return err.Error()
		}
		var all []string
		for _, p := range answer.Paths {
			text := fmt.Sprintf("%s %s: %s %s to %s %s, wanted %s", p.Family, p.Verdict, p.From.Name, p.From.Interface.Name,
				p.To.Name, p.To.Interface.Name, p.Wanted)
			for _, r := range p.Reasons {
				text += "; " + r.Error()
			}
			all = append(all, text)
		}
		return strings.Join(all, "\n")
	}
}

// TestExplainPlaces finds what a user may name, and refuses the rest.
func TestExplainPlaces(t *testing.T) {
	t.Parallel()
	_, explain := explained(t)
	for line, want := range map[string]string{
		"c1 c12":               "IPv4 open: c1 br1 to c12 br1, wanted open",
		"c12 10.1.0.2:80":      "IPv4 open: c12 br1 to c1 br1, wanted open",
		"d host:53/udp":        "IPv4 open: d2 br2 to host , wanted open",
		"host d2":              "IPv4 open: host  to d2 br2, wanted open",
		"d2 d2":                "IPv4 open: d2 br2 to d2 br2, wanted open",
		"d2 outside:443":       "IPv4 open: d2 br2 to outside uplink, wanted open",
		"192.0.2.7 c1":         "IPv4 open: 192.0.2.7 uplink to c1 br1, wanted open",
		"203.0.113.1 [::1]:80": "203.0.113.1 and ::1 have no address family in common",
		"c host":               `"c" is the beginning of the IDs of 2 containers: add more of it`,
		"x host":               `"x" is no container, network or address that this plugin knows`,
		"c1 host:http":         `"http" is no port`,
		"c1 host:0":            `"0" is no port`,
		"c1 host:65536":        `"65536" is no port`,
		"c1 host:80/sctp":      `"80/sctp" is no port`,
	} {
		from, to, _ := strings.Cut(line, " ")
		got := explain(from, to)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

// TestExplainDecides joins what the rules decide with what the policies want.
func TestExplainDecides(t *testing.T) {
	t.Parallel()
	s, explain := explained(t)
	on := func(hook policy.Hook, isReply bool, d policy.Decision) func(policy.Packet) []policy.Decision {
		return func(p policy.Packet) []policy.Decision {
			if p.Hook != hook || p.IsReply != isReply {
				return nil
			}
			return []policy.Decision{d}
		}
	}
	drop := policy.Decision{Family: "inet", Table: "guard", Base: "passing", Chain: "deep", Handle: 7, Outcome: policy.Drops}
	own := policy.Decision{Family: "inet", Table: "cni_firewall", Chain: "isolation_stage_2", Rule: "drop", IsOwn: true, Outcome: policy.Drops}
	may := drop
	may.Outcome = policy.MayDrop
	for name, test := range map[string]struct {
		change   func()
		from, to string
		want     string
	}{
		"a policy": {func() { s.decide = on(policy.HookForward, false, own) }, "c1", "d2",
			`IPv4 blocked: c1 br1 to d2 br2, wanted blocked; network "br2" is isolated: containers of other isolated networks do not reach its own`},
		"open all the same": {func() { s.decide = nil }, "c1", "d2",
			"IPv4 open: c1 br1 to d2 br2, wanted blocked; rules are missing, or another program changed them; restore them: nothing stops c1"},
		"a rule": {func() { s.decide = on(policy.HookForward, false, drop) }, "c1", "c12",
			"IPv4 blocked: c1 br1 to c12 br1, wanted open; a rule of another program drops it; accept it ahead: " +
				"chain deep of table inet guard: rule 7: run \"nft 'insert rule inet guard passing iifname \"br1\" oifname \"br1\" ip saddr 10.1.0.2 ip daddr 10.1.0.3 accept'\""},
		"a rule about answers": {func() { s.decide = on(policy.HookPrerouting, true, drop) }, "c1", "outside:80",
			"IPv4 blocked: c1 br1 to outside uplink, wanted open; a rule of another program drops it; accept it ahead: " +
				"chain deep of table inet guard: rule 7: run \"nft 'insert rule inet guard passing iifname \"uplink\" ip daddr 10.1.0.2 tcp sport 80 accept'\""},
		"a rule that may": {func() { s.decide = on(policy.HookForward, false, may) }, "c1", "c12",
			"IPv4 unclear: c1 br1 to c12 br1, wanted open; a rule of another program may drop it"},
		"a rule of the plugin's": {func() { s.decide = on(policy.HookForward, false, own) }, "c1", "c12",
			"IPv4 blocked: c1 br1 to c12 br1, wanted open; a rule of this plugin drops it, and no record asks for that"},
		"the host's own": {func() { s.decide = on(policy.HookForward, false, drop) }, "host", "d2", "IPv4 open"},
		"no forwarding": {func() { s.decide, s.forwards = nil, false }, "c1", "outside",
			`IPv4 blocked: c1 br1 to outside uplink, wanted open; the host does not forward packets; switch forwarding on: ` +
				`the sysctl net.ipv4.conf.br1.forwarding is 0: run "sysctl -w net.ipv4.conf.br1.forwarding=1"`},
		"no forwarding within a bridge": {func() { s.decide, s.forwards = nil, false }, "c1", "c12", "IPv4 open"},
		"rules that cannot be read": {func() { s.unread = errors.New("no more memory") }, "c1", "c12",
			"IPv4 unclear: c1 br1 to c12 br1, wanted open; no more memory"},
	} {
		s.decide, s.forwards, s.unread, s.texts = nil, true, nil, 0
		test.change()
		if got := explain(test.from, test.to); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got\n%s, want\n%s", name, got, test.want)
		}
		if s.texts > 1 { // each starts nft
			t.Errorf("%s: asked for the text of one rule %d times", name, s.texts)
		}
	}
}

// TestExplainPublished follows a port of the host to its container.
func TestExplainPublished(t *testing.T) {
	t.Parallel()
	s, explain := explained(t)
	s.decide = func(p policy.Packet) []policy.Decision {
		if (p.Hook == policy.HookPrerouting || p.Hook == policy.HookOutput) && p.IsLocal && p.Port == 8080 && !p.IsReply {
			return []policy.Decision{{Outcome: policy.Redirects, To: netip.MustParseAddrPort("10.2.0.2:80")}}
		}
		return nil
	}
	for line, want := range map[string]string{
		"c1 host:8080":             "IPv4 open: c1 br1 to d2 br2, wanted open",
		"outside 203.0.113.1:8080": "IPv4 open: outside uplink to d2 br2, wanted open",
		"host host:8080":           "IPv4 open: host  to d2 br2, wanted open",
		"c1 host:8081":             "IPv4 open: c1 br1 to host , wanted open",
	} {
		from, to, _ := strings.Cut(line, " ")
		if got := explain(from, to); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}
