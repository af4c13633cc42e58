// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// inWords is an error that says itself what is wrong, and what cures it.
type inWords interface {
	error
	words() Problem
}

// NotForwarding returns the error that a sysctl keeps the host from forwarding.
func NotForwarding(sysctl string) error { return notForwarding(sysctl) }

// Policy says that the policy of a network stops a connection to one of its containers.
type Policy struct {
	Network       string
	IngressPolicy policy.IngressPolicy
	From          string // the network that it comes from; empty for none
	FromPolicy    policy.IngressPolicy
	IsWithin      bool // from the same bridge
	IsPublished   bool // the host redirected it
	IsDenied      bool // the network denies published ports
}

// Error names the network and its policy.
func (p *Policy) Error() string { return p.words().Problem }

func (p *Policy) words() Problem {
	cure := "grep -rl " + quoted(`"`+p.Network+`"`) + " /etc/cni"
	return Problem{p.who() + "; " + p.advice() + " and add its containers again", cure}
}

// who says who keeps out whom.
func (p *Policy) who() string {
	ports := ""
	if p.IsPublished {
		ports = ` and denies published ports`
	}
	switch {
	case p.IsWithin:
		return fmt.Sprintf("network %q is %s%s: its containers do not reach each other", p.Network, p.IngressPolicy, ports)
	case p.IngressPolicy.IsStrict():
		return fmt.Sprintf("network %q is %s%s: only its own bridge and the host reach its containers", p.Network, p.IngressPolicy, ports)
	}
	return fmt.Sprintf("network %q is %s%s: containers of other isolated networks do not reach its own, and %q is %s",
		p.Network, p.IngressPolicy, ports, p.From, p.FromPolicy)
}

// advice says what to change.
func (p *Policy) advice() string {
	if p.IsPublished {
		return `set "publishedPorts": "allow" in its conflist (the command finds it)`
	}
	wider := policy.Open
	switch {
	case p.IsWithin && p.IngressPolicy.IsStrict():
		wider = policy.Strict
	case p.IsWithin:
		wider = policy.SameBridge
	case p.IngressPolicy.IsStrict() && !p.FromPolicy.Isolates():
		wider = policy.SameBridge
	}
	publish := "publish the port and connect to the host's address, or "
	if p.IsDenied {
		publish = ""
	}
	return fmt.Sprintf("%sset \"ingressPolicy\": %q in its conflist (the command finds it)", publish, wider)
}

// Stopped says that a rule, or the policy of a chain, stops a connection that the policies
// of networks let through.
type Stopped struct {
	policy.Decision

	Packets       []policy.Packet // that it stops
	IsOperators   bool            // the rule is in the operator's chain
	FromContainer bool
	AcceptIn      string // the chain to accept the packets in
}

// Error names the chain and the rule.
func (s *Stopped) Error() string {
	where := fmt.Sprintf("chain %s of table %s %s", s.Chain, s.Family, s.Table)
	if s.Program != "" {
		where = fmt.Sprintf("%s, chain %s of table %s", s.Program, s.Chain, s.Table)
	}
	if s.Rule == "" {
		return where + ": policy drop"
	}
	return where + ": " + s.Rule
}

func (s *Stopped) words() Problem {
	does := "drops"
	if s.Outcome == policy.MayDrop {
		does = "may drop"
	}
	switch {
	case s.IsOwn:
		return Problem{"a rule of this plugin " + does + " it, and no record asks for that; restore the rules: " + s.Error(), cureRestore}
	case s.IsOperators:
		return Problem{"a rule of your own " + does + " it; delete that: " + s.Error(), s.deletion()}
	case s.Table == "firewalld" && s.FromContainer:
		return Problem{"firewalld " + does + " what no zone of its allows; give the network a zone that does: " + s.Error(),
			"firewall-cmd --zone=trusted --add-interface=" + quoted(s.Packets[0].In.Name)}
	case s.Table == "firewalld":
		return Problem{"firewalld " + does + " what no zone of its allows; publish the port, or see which zone that is: " + s.Error(),
			"firewall-cmd --get-active-zones"}
	case s.Rule == "":
		return Problem{"no rule accepts it, and the policy of the chain " + does + " it; accept it: " + s.Error(), s.acceptance()}
	}
	return Problem{"a rule of another program " + does + " it; accept it ahead: " + s.Error(), s.acceptance()}
}

// deletion returns the command that deletes the rule. The text of one may have what a shell
// would run; then it is the command that lists the chain.
func (s *Stopped) deletion() string {
	if s.Program != "" && strings.ContainsAny(s.Rule, "$`\\;&|<>()") {
		return s.program() + " -S " + s.Chain
	}
	if s.Program != "" {
		return s.program() + " -D " + strings.TrimPrefix(s.Rule, "-A ")
	}
	return fmt.Sprintf("nft delete rule %s %s %s handle %d", s.Family, s.Table, s.Chain, s.Handle)
}

// program returns the program, with the table if that is not the usual one.
func (s *Stopped) program() string {
	if s.Table == "filter" {
		return s.Program
	}
	return s.Program + " -t " + s.Table
}

// acceptance returns the commands that accept the packets, and no others.
func (s *Stopped) acceptance() string {
	var all []string
	for _, p := range s.Packets {
		words := fmt.Sprintf("insert rule %s %s %s %s accept", s.Family, s.Table, s.Base, conditions(p, nftWords))
		command := "nft " + quoted(words)
		if s.Program != "" {
			command = s.program() + " -I " + s.AcceptIn + " " + conditions(p, iptablesWords) + " -j ACCEPT"
		}
		all = append(all, command)
	}
	return strings.Join(all, " && ")
}

// language has the words of a program for the conditions of a rule.
type language struct {
	in, out, source, destination string
	protocol, fromPort, toPort   string
	ip                           map[policy.Family]string
	name                         func(string) string // of an interface, which may have any character
}

var (
	iptablesWords = language{
		in: "-i ", out: "-o ", source: "-s ", destination: "-d ", protocol: "-p ", fromPort: "--sport ", toPort: "--dport ",
		name: quoted,
	}
	nftWords = language{
		in: "iifname ", out: "oifname ", source: "saddr ", destination: "daddr ", fromPort: " sport ", toPort: " dport ",
		ip:   map[policy.Family]string{policy.IPv4: "ip ", policy.IPv6: "ip6 "},
		name: func(name string) string { return `"` + name + `"` },
	}
)

// conditions returns the conditions that a packet alone meets.
func conditions(p policy.Packet, l language) string {
	var all []string
	add := func(word, value string) {
		if value != "" && value != `""` && value != "''" {
			all = append(all, word+value)
		}
	}
	ip := l.ip[p.Family()]
	add(l.in, l.name(p.In.Name))
	add(l.out, l.name(p.Out.Name))
	add(ip+l.source, addressText(p.Source))
	add(ip+l.destination, addressText(p.Destination))
	if p.Port != 0 {
		word := l.toPort
		if p.IsReply {
			word = l.fromPort
		}
		separator := ""
		if l.protocol != "" {
			separator = " "
		}
		add(l.protocol, p.Protocol+separator+word+strconv.Itoa(int(p.Port)))
	}
	return strings.Join(all, " ")
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
