// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// follow takes a connection along its path, and says what becomes of it.
func (x *Explainer) follow(p *Path) error {
	if err := x.locate(&p.From, p.Family); err != nil {
		return err
	}
	if p.To.isHost() && p.To.Port != 0 {
		if err := x.redirect(p); err != nil {
			return err
		}
	}
	if err := x.locate(&p.To, p.Family); err != nil {
		return err
	}
	p.Wanted = verdictOf(x.isWanted(*p))
	w := x.way(*p)
	if err := x.checkForwarding(&w); err != nil {
		return err
	}
	x.judge(p, w)
	return x.giveReasons(p, w)
}

func verdictOf(isOpen bool) Verdict {
	if isOpen {
		return Open
	}
	return Blocked
}

// redirect puts the container in the place of the host that the host's port leads to, if
// it is published.
func (x *Explainer) redirect(p *Path) error {
	for _, local := range x.localAddresses(*p) {
		packet := policy.Packet{
			Hook: policy.HookPrerouting, In: p.From.Interface, Source: p.From.Address, Destination: local, IsLocal: true,
			Protocol: p.Protocol, Port: p.To.Port,
		}
		if p.From.isHost() {
			packet.Hook, packet.In, packet.Source = policy.HookOutput, policy.Interface{}, local
		}
		for _, d := range x.decide(packet) {
			if d.Outcome == policy.Redirects {
				p.Published = netip.AddrPortFrom(local, p.To.Port)
				p.To = x.placeOf(d.To.Addr())
				p.To.Port = d.To.Port()
				return nil
			}
		}
	}
	return nil
}

// localAddresses returns the addresses of the host that a connection may be for: those
// which are on no bridge of a network first.
func (x *Explainer) localAddresses(p Path) []netip.Addr {
	if p.To.Address.IsValid() {
		return []netip.Addr{p.To.Address}
	}
	isOther := func(a netip.Addr) bool {
		return a.Is4() != (p.Family == policy.IPv4) || a.IsLoopback() || a.IsLinkLocalUnicast()
	}
	return slices.DeleteFunc(slices.Clone(x.own), isOther)
}

// decide returns what the tables decide about a packet, in the order in which it meets
// them.
func (x *Explainer) decide(p policy.Packet) []policy.Decision {
	all := x.tables.Decide(p)
	slices.SortStableFunc(all, func(a, b policy.Decision) int { return cmp.Compare(a.Priority, b.Priority) })
	return all
}

// way is the packets of a connection, and what stands in their way.
type way struct {
	first      policy.Packet
	isSwitched bool     // by the bridge that both ends are on
	isFlagged  bool     // the bridge does not do so, for the flag of the ports
	isFiltered bool     // the rules see the packets
	forwarding []string // sysctls that must be 1, and are not
	decided    []decided
}

// decided is a decision and the packet that it is about.
type decided struct {
	policy.Decision

	packet policy.Packet
}

// way returns the way of a connection.
func (x *Explainer) way(p Path) way {
	w := way{isFiltered: true, first: policy.Packet{
		Hook: policy.HookForward, In: p.From.Interface, Out: p.To.Interface,
		Source: p.From.Address, Destination: p.To.Address, Protocol: p.Protocol, Port: p.To.Port, Original: p.Published,
	}}
	switch {
	case isItself(p):
		w.isFiltered = false // by the loopback interface
	case p.From.isHost():
		w.first.Hook, w.first.In = policy.HookOutput, policy.Interface{}
		w.first.Source = x.hostAddress(p)
	case p.To.isHost():
		w.first.Hook, w.first.Out, w.first.IsLocal = policy.HookInput, policy.Interface{}, true
		w.first.Destination = cmp.Or(p.To.Address, x.hostAddress(p))
	case p.From.Attachment != nil && p.From.bridge() != "" && p.From.bridge() == p.To.bridge():
		x.withinBridge(p, &w)
	}
	if w.isFiltered {
		w.decided = append(x.onTheWay(w.first), x.onTheWay(w.first.Reply())...)
	}
	return w
}

// isItself reports whether a connection never leaves its host or container.
func isItself(p Path) bool {
	return p.From.isHost() && p.To.isHost() ||
		p.From.Attachment != nil && p.From.Name == p.To.Name && !p.From.isAnother && !p.Published.IsValid()
}

// hostAddress returns an address of the host in the family of a path.
func (x *Explainer) hostAddress(p Path) netip.Addr {
	p.To.Address = netip.Addr{}
	if all := x.localAddresses(p); len(all) > 0 {
		return all[0]
	}
	return somewhere[p.Family]
}

// withinBridge notes that the bridge switches the packets. The rules see them by
// br_netfilter alone, as they see those that it redirects to a published port. What is
// redirected without it, the host routes back to the bridge.
func (x *Explainer) withinBridge(p Path, w *way) {
	isRouted := p.From.Interface != p.To.Interface // by the gateways of two VLANs
	bridge := x.linkOf(p.From.bridge())
	isFiltered := bridge.Filtered(x.filtered).Has(p.Family)
	w.isSwitched = !isRouted && (!p.Published.IsValid() || isFiltered)
	if w.isSwitched {
		on := policy.Interface{Name: bridge.Name, Index: bridge.Index}
		w.first.In, w.first.Out = on, on
		w.isFiltered = isFiltered
		w.isFlagged = x.linkOf(p.From.Attachment.Port).Isolated && x.linkOf(p.To.Attachment.Port).Isolated
	}
}

// onTheWay returns what tables decide about a packet before it is routed and behind that.
func (x *Explainer) onTheWay(p policy.Packet) (all []decided) {
	seen := []policy.Packet{p}
	if p.Hook != policy.HookOutput {
		seen = []policy.Packet{beforeRouting(p), p}
	}
	for _, packet := range seen {
		for _, d := range x.decide(packet) {
			if d.Outcome != policy.Redirects {
				all = append(all, decided{d, packet})
			}
		}
	}
	return all
}

// beforeRouting returns a packet as it comes in.
func beforeRouting(p policy.Packet) policy.Packet {
	p.Hook, p.Out = policy.HookPrerouting, policy.Interface{}
	if p.IsRedirected() && !p.IsReply {
		p.Destination, p.Port, p.IsLocal = p.Original.Addr(), p.Original.Port(), true
		p.Original = netip.AddrPort{}
	}
	return p
}

// checkForwarding notes the sysctls that keep the host from forwarding the packets.
func (x *Explainer) checkForwarding(w *way) error {
	if w.first.Hook != policy.HookForward || w.isSwitched || !w.isFiltered {
		return nil
	}
	for _, in := range []policy.Interface{w.first.In, w.first.Out} {
		name, on, err := x.fw.sight.ForwardingSysctl(w.first.Family(), in.Name)
		if err != nil {
			return err
		}
		if !on && !slices.Contains(w.forwarding, name) {
			w.forwarding = append(w.forwarding, name)
		}
	}
	return nil
}

// judge says what becomes of the connection: one drop is enough.
func (x *Explainer) judge(p *Path, w way) {
	has := func(o policy.Outcome) bool {
		return slices.ContainsFunc(w.decided, func(d decided) bool { return d.Outcome == o })
	}
	p.Verdict, p.Decisions = Open, w.with(policy.Accepts)
	switch {
	case w.isFlagged, len(w.forwarding) > 0, has(policy.Drops):
		p.Verdict, p.Decisions = Blocked, w.firstWith(policy.Drops)
	case has(policy.MayDrop):
		p.Verdict, p.Decisions = Unclear, w.firstWith(policy.MayDrop)
	case x.unread != nil && w.isFiltered:
		p.Verdict = Unclear
	}
}

// firstWith returns the decisions with an outcome about the first packet, and about the answer
// where there is none.
func (w way) firstWith(o policy.Outcome) []policy.Decision {
	isAnswer := func(d decided) bool { return d.packet.IsReply }
	about := way{decided: slices.DeleteFunc(slices.Clone(w.decided), isAnswer)}
	if found := about.with(o); len(found) > 0 {
		return found
	}
	return w.with(o)
}

// with returns the decisions with an outcome, each once.
func (w way) with(o policy.Outcome) []policy.Decision {
	var some []policy.Decision
	for _, d := range w.decided {
		if d.Outcome == o && !slices.Contains(some, d.Decision) {
			some = append(some, d.Decision)
		}
	}
	return some
}

// isWanted reports whether the policies let a connection through. Nothing is forwarded
// that the host sends or takes.
func (x *Explainer) isWanted(p Path) bool {
	if p.From.isHost() || p.To.Attachment == nil || isItself(p) {
		return true
	}
	to := x.bridgeOf(p.To)
	reach := policy.FromOutside(to)
	if p.From.Attachment != nil {
		reach = policy.Reaches(x.bridgeOf(p.From), to)
	}
	return reach == policy.Everything || reach == policy.PublishedOnly && p.Published.IsValid()
}
