// SPDX-License-Identifier: Apache-2.0

// Package policy is the model that every driver renders: it turns attachments into
// the traffic that the kernel must forward and drop. It does no I/O.
//
// Isolation has two stages. Stage 1 sends a packet that comes in from an isolated
// bridge and leaves by another interface to stage 2. Stage 2 drops a packet that
// leaves by an isolated bridge. So n bridges cost 2n rules; a rule for each pair of
// bridges would cost n². A packet that comes in from elsewhere meets stage 1 alone: there
// a strict bridge drops it, unless it is a reply or leads to a published port.
package policy

import (
	"fmt"
	"strings"
)

// IngressPolicy says who may open a connection to a container.
type IngressPolicy string

// The policies. Whoever may come by a published port is another matter.
const (
	Open           IngressPolicy = "open"            // everybody
	SameBridge     IngressPolicy = "same-bridge"     // everybody except containers of other isolated bridges
	Isolated       IngressPolicy = "isolated"        // as SameBridge, and except containers of the same bridge
	Strict         IngressPolicy = "strict"          // the host, and containers of the same bridge
	IsolatedStrict IngressPolicy = "isolated-strict" // the host
)

// IngressPolicies lists the values a user may write. None is stricter than one behind
// it.
var IngressPolicies = []IngressPolicy{Open, SameBridge, Isolated, Strict, IsolatedStrict}

// Isolates reports whether the policy blocks other isolated bridges.
func (p IngressPolicy) Isolates() bool { return p == SameBridge || p.Separates() || p.IsStrict() }

// Separates reports whether the policy blocks containers of the same bridge.
func (p IngressPolicy) Separates() bool { return p == Isolated || p == IsolatedStrict }

// IsStrict reports whether the policy blocks everybody else: other bridges, whatever
// their policy, and what the host routes from elsewhere.
func (p IngressPolicy) IsStrict() bool { return p == Strict || p == IsolatedStrict }

// With returns the policy that blocks what either blocks, and no more.
func (p IngressPolicy) With(other IngressPolicy) IngressPolicy {
	separates, strict := p.Separates() || other.Separates(), p.IsStrict() || other.IsStrict()
	switch {
	case separates && strict:
		return IsolatedStrict
	case strict:
		return Strict
	case separates:
		return Isolated
	case p.Isolates() || other.Isolates():
		return SameBridge
	}
	return Open
}

// PublishedPorts says whether connections that the host redirected (DNAT: a
// published port) pass the isolation of the bridge they lead to.
type PublishedPorts string

// The values, the default first.
const (
	Allow PublishedPorts = "allow" // they pass
	Deny  PublishedPorts = "deny"  // they do not
)

// PublishedPortsValues lists the values a user may write.
var PublishedPortsValues = []PublishedPorts{Allow, Deny}

// Family is an address family. Its value is its bit in Families.
type Family uint8

// The families of container addresses.
const (
	IPv4 Family = 1 << iota
	IPv6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return fmt.Sprintf("Family(%d)", uint8(f))
}

// Families is a set of address families.
type Families uint8

// BothFamilies holds IPv4 and IPv6.
const BothFamilies = Families(IPv4 | IPv6)

// With returns the set and f.
func (s Families) With(f Family) Families { return s | Families(f) }

// String returns "", "IPv4", "IPv6" or "IPv4+IPv6".
func (s Families) String() string {
	var names []string
	for _, f := range s.List() {
		names = append(names, f.String())
	}
	return strings.Join(names, "+")
}

// Has reports whether f is in the set.
func (s Families) Has(f Family) bool { return s&Families(f) != 0 }

// List returns the families of the set, IPv4 first.
func (s Families) List() []Family {
	var list []Family
	for _, f := range []Family{IPv4, IPv6} {
		if s.Has(f) {
			list = append(list, f)
		}
	}
	return list
}
