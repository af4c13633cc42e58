// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// giveReasons says why a connection is blocked, or open although no policy lets it in. What
// only other programs stop is told where the policies let it in: to open it there would
// not help.
func (x *Explainer) giveReasons(p *Path, w way) error {
	var errs []error
	for i, d := range p.Decisions {
		p.Decisions[i].Rule = x.textOf(d)
	}
	switch {
	case p.Verdict == Open && p.Wanted == Open:
		return nil
	case p.Wanted == Blocked && p.Verdict != Open:
		errs = append(errs, x.policyOf(*p))
	default:
		missing, err := x.missing(*p)
		if err != nil {
			return err
		}
		errs = append(errs, missing, x.unread)
		for _, name := range w.forwarding {
			errs = append(errs, diagnosis.NotForwarding(name))
		}
		errs = append(errs, x.stopped(*p, w)...)
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, x.unexplained(*p, w))
	}
	p.Reasons = diagnosis.Explain(errors.Join(errs...), x.fw.storage.dataDir)
	return nil
}

// policyOf returns the error that names the network whose policy stops a connection.
func (x *Explainer) policyOf(p Path) error {
	to := x.bridgeOf(p.To)
	e := &diagnosis.Policy{Network: p.To.Network(), IngressPolicy: to.IngressPolicy, From: p.From.Network()}
	if p.From.Attachment != nil {
		from := x.bridgeOf(p.From)
		e.FromPolicy, e.IsWithin = from.IngressPolicy, from.Name == to.Name
	}
	e.IsPublished = p.Published.IsValid()
	e.IsDenied = to.PublishedPorts == policy.Deny
	return e
}

// missing returns an error that says what the kernel lacks of the containers at both ends,
// or of any other one.
func (x *Explainer) missing(p Path) (difference, err error) {
	for _, place := range []Place{p.From, p.To} {
		if place.Attachment == nil {
			continue
		}
		desired := x.fw.desiredOn(x.records, *place.Attachment)
		if difference, err = x.compare(desired); difference != nil || err != nil {
			return difference, err
		}
	}
	return x.compare(x.fw.desired(x.records, nil, slices.Concat(x.records.briefs(), x.all)))
}

func (x *Explainer) compare(desired policy.RuleSets) (difference, err error) {
	_, difference, err = x.fw.drivers.settled(desired, x.fw.ports.inForce(&x.records))
	return diagnosis.WithKind(diagnosis.ErrDiffers, difference), err
}

// stopped returns an error for each rule and each policy that stops the connection, with
// the packets that it stops.
func (x *Explainer) stopped(p Path, w way) []error {
	outcome := policy.Drops
	if p.Verdict == Unclear {
		outcome = policy.MayDrop
	}
	var errs []error
	for _, d := range w.with(outcome) {
		s := x.newStopped(p, d)
		for _, other := range w.decided {
			if other.Decision == d {
				s.Packets = append(s.Packets, withoutOutside(other.packet))
			}
		}
		errs = append(errs, s)
	}
	return errs
}

// withoutOutside returns a packet without the address that stands for the outside.
func withoutOutside(p policy.Packet) policy.Packet {
	for _, a := range []*netip.Addr{&p.Source, &p.Destination} {
		if *a == somewhere[policy.IPv4] || *a == somewhere[policy.IPv6] {
			*a = netip.Addr{}
		}
	}
	return p
}

// newStopped says whose rule it is. What only the policy of FORWARD drops, the operator's
// chain can accept, if the network's rules are in the same table.
func (x *Explainer) newStopped(p Path, d policy.Decision) *diagnosis.Stopped {
	s := &diagnosis.Stopped{Decision: d, FromContainer: p.From.Attachment != nil, AcceptIn: d.Base}
	s.IsOperators = d.Family == "inet" && d.Table == "cni_firewall" && !d.IsOwn
	for _, place := range []Place{p.From, p.To} {
		if a := place.Attachment; a != nil && a.AdminChain != "" {
			s.IsOperators = s.IsOperators || d.Program != "" && d.Chain == a.AdminChain
			if d.Program != "" && d.Rule == "" && d.Base == "FORWARD" && a.Backend == policy.IPTables {
				s.AcceptIn = a.AdminChain
			}
		}
	}
	s.Rule = x.textOf(d)
	return s
}

// textOf returns the rule of a decision. It asks for that of nft once.
func (x *Explainer) textOf(d policy.Decision) string {
	if d.Rule != "" || d.Handle == 0 {
		return d.Rule
	}
	if _, known := x.texts[d]; !known {
		x.texts[d] = x.fw.sight.Text(d)
	}
	return x.texts[d]
}

// unexplained says what is known where nothing else is.
func (x *Explainer) unexplained(p Path, w way) error {
	switch {
	case p.Verdict == Open:
		return diagnosis.WithKind(diagnosis.ErrDiffers, fmt.Errorf(
			"nothing stops %s on the way to %s, which the policy of network %q keeps out", p.From.Name, p.To.Name, p.To.Network()))
	case w.isFlagged:
		return fmt.Errorf("the ports of both containers have the flag isolated, and bridge %q hands no frame from one to the other",
			p.To.bridge())
	}
	return nil
}
