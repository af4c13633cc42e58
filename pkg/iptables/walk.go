// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// walk is a packet's way through a base chain, and the chains that it leads to.
type walk struct {
	t         *savedTable
	packet    policy.Packet
	mark      mark
	depth     int
	uncertain int               // rules on the way that may match
	decisions []policy.Decision // those that may be, and at the end the one that is
}

// nonTerminal are targets that let a packet go on. All others that are no chain may keep
// it.
var nonTerminal = []string{
	"", "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "CT", "NOTRACK",
	"TCPMSS", "TCPOPTSTRIP", "CLASSIFY", "DSCP", "TOS", "TTL", "HL", "ECN", "CHECKSUM", "SET", "TEE", "IDLETIMER", "RATEEST",
}

// base returns what a base chain decides. What it only may decide comes first.
func (w *walk) base(chain string) []policy.Decision {
	if !w.chain(chain) && w.t.policies[chain] == "DROP" {
		w.decide(chain, "", policy.Drops)
	}
	return policy.Settled(w.decisions)
}

// chain takes the packet through a chain, and reports whether a verdict has ended its way.
func (w *walk) chain(name string) (ended bool) {
	w.depth++
	defer func() { w.depth-- }()
	if w.depth > policy.MaxDepth {
		return false
	}
	for _, r := range w.t.rules[name] {
		matches := w.matches(r)
		if matches == policy.Never {
			continue
		}
		if matches == policy.Maybe {
			w.uncertain++
		}
		ended, leaves := w.target(name, r)
		if matches == policy.Maybe {
			w.uncertain--
			continue
		}
		if ended || leaves {
			return ended
		}
	}
	return false
}

// target does what a rule says. leaves says that the rules behind it do not see the packet.
func (w *walk) target(chain string, r rule) (ended, leaves bool) {
	way := r.way()
	switch way.target {
	case "ACCEPT":
		w.decide(chain, r, policy.Accepts)
		return true, false
	case "DROP", "REJECT":
		w.decide(chain, r, policy.Drops)
		return true, false
	case "RETURN":
		return false, true
	case "QUEUE", "NFQUEUE":
		w.decide(chain, r, policy.MayDrop)
		return true, false
	case "DNAT":
		w.redirect(chain, r)
		return true, false
	case "REDIRECT", "MASQUERADE", "SNAT", "NETMAP":
		return true, false
	case "MARK":
		w.mark.set(r.value("--set-xmark"), w.uncertain > 0)
		return false, false
	}
	if slices.Contains(nonTerminal, way.target) {
		return false, false
	}
	return w.chain(way.target), way.isGoto
}

// decide notes a decision.
func (w *walk) decide(chain string, r rule, o policy.Outcome) {
	if w.uncertain > 0 {
		o = o.Perhaps()
	}
	text := ""
	if r != "" {
		text = "-A " + chain + " " + string(r)
	}
	w.decisions = append(w.decisions, policy.Decision{Chain: chain, Rule: text, Outcome: o})
}

// redirect notes where a connection is redirected to, unless that is not certain.
func (w *walk) redirect(chain string, r rule) {
	text := r.value("--to-destination")
	to, err := netip.ParseAddrPort(text)
	if address, notPort := netip.ParseAddr(text); notPort == nil {
		to, err = netip.AddrPortFrom(address, w.packet.Port), nil
	}
	if err == nil && w.uncertain == 0 {
		w.decisions = append(w.decisions, policy.Decision{
			Chain: chain, Rule: "-A " + chain + " " + string(r), Outcome: policy.Redirects, To: to,
		})
	}
}
