// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// Hook is a place on a packet's way where chains see it.
type Hook string

// The hooks, as nft calls them.
const (
	HookPrerouting Hook = "prerouting"
	HookInput      Hook = "input"
	HookForward    Hook = "forward"
	HookOutput     Hook = "output"
)

// Interface is an interface of the host; the zero value where a packet has none.
type Interface struct {
	Name  string
	Index int
}

// Packet is the first packet of a connection, or the first answer to it, as chains see it.
type Packet struct {
	Hook                Hook
	In, Out             Interface
	Source, Destination netip.Addr
	IsLocal             bool   // the destination is an address of the host
	Protocol            string // "tcp" or "udp"; empty for any
	Port                uint16 // that the connection leads to; 0 for any

	// Original is where a connection was sent that the host redirected; the zero value for
	// any other connection.
	Original netip.AddrPort

	IsReply bool
}

// Family returns the family of the packet's addresses.
func (p Packet) Family() Family {
	if p.Destination.Is4() {
		return IPv4
	}
	return IPv6
}

// IsRedirected reports whether the host redirected the connection (DNAT).
func (p Packet) IsRedirected() bool { return p.Original.IsValid() }

// Reply returns the answer to a packet, which takes the same way back.
func (p Packet) Reply() Packet {
	p.In, p.Out, p.Source, p.Destination, p.IsReply = p.Out, p.In, p.Destination, p.Source, true
	switch p.Hook {
	case HookInput:
		p.Hook = HookOutput
	case HookOutput:
		p.Hook, p.IsLocal = HookInput, true
	case HookForward, HookPrerouting:
	}
	return p
}

// Outcome is what a rule, or the policy of a base chain, does with a packet.
type Outcome string

// The outcomes.
const (
	Accepts   Outcome = "accept"
	Drops     Outcome = "drop"
	MayAccept Outcome = "may accept" // it depends on what is not known of the packet
	MayDrop   Outcome = "may drop"
	Redirects Outcome = "dnat"
)

// Perhaps returns the outcome where it is not known whether a rule sees the packet.
func (o Outcome) Perhaps() Outcome {
	switch o {
	case Accepts:
		return MayAccept
	case Drops:
		return MayDrop
	case MayAccept, MayDrop, Redirects:
	}
	return o
}

// Settled returns what one base chain decides, in the order of its rules. What it only may
// accept, it may not drop afterwards.
func Settled(all []Decision) []Decision {
	mayAccept := false
	for i, d := range all {
		mayAccept = mayAccept || d.Outcome == MayAccept
		if mayAccept && d.Outcome == Drops {
			all[i].Outcome = MayDrop
		}
	}
	return all
}

// Decision is what a base chain does with a packet, and by which rule.
type Decision struct {
	Program  string // of iptables that shows the rule; empty for one that only nft does
	Family   string // of the table, as nft calls it
	Table    string
	Base     string // the base chain
	Priority int    // of it: of all that see a packet, the lowest is first
	Chain    string // that has the rule
	Rule     string // as its program prints it; empty for the policy of the base chain
	Handle   uint64 // of a rule of nft
	IsOwn    bool   // the plugin has written the rule

	Outcome Outcome
	To      netip.AddrPort // where it redirects to
}

// Tables are the rules of all programs, as they were read at one moment.
type Tables interface {
	// Decide returns what the base chains of a packet's hook decide, in any order. Those
	// that decide nothing are left out.
	Decide(Packet) []Decision
}
