// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// notForwarding is the sysctl that makes the host forward packets of a family,
// and is 0.
type notForwarding string

func (n notForwarding) Error() string { return "the sysctl " + string(n) + " is 0" }

// forwardingOf are the sysctls that make the host forward, by family.
var forwardingOf = map[policy.Family]notForwarding{
	policy.IPv4: "net.ipv4.ip_forward",
	policy.IPv6: "net.ipv6.conf.all.forwarding",
}

// Forwards returns an error where the host forwards nothing in a family in which
// it has to.
func Forwards(all []policy.Attachment) error {
	var errs []error
	for _, f := range routed(all).List() {
		name := forwardingOf[f]
		text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(string(name), ".", "/"))
		switch {
		case errors.Is(err, fs.ErrNotExist): // a kernel without IPv6
		case err != nil:
			errs = append(errs, fmt.Errorf("reading the sysctl %s: %w", string(name), err))
		case strings.TrimSpace(string(text)) == "0":
			errs = append(errs, name)
		}
	}
	return errors.Join(errs...)
}

// routed returns the families in which the host is the way out for containers of
// bridges. Where it has no address on one, it is not: such a network is one that
// nothing leaves (Podman's --internal), or has a router of its own. Of a network
// without a bridge it is not known: packets of a macvlan pass the host by.
func routed(all []policy.Attachment) policy.Families {
	var families policy.Families
	ofBridge := map[string]policy.Families{"": 0}
	for _, a := range all {
		had, known := ofBridge[a.Bridge]
		if !known {
			had = addressed(a.Bridge)
			ofBridge[a.Bridge] = had
		}
		families |= had & a.Families()
	}
	return families
}

// addressed returns the families in which the host has an address on a bridge
// that others can send to. Of one that is gone it has none.
func addressed(bridge string) policy.Families {
	var families policy.Families
	l, err := net.InterfaceByName(bridge)
	if err != nil {
		return 0
	}
	addresses, err := l.Addrs()
	if err != nil {
		return policy.BothFamilies
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			families = families.With(policy.FamilyOf(p))
		}
	}
	return families
}

// BridgeGone returns the error that a bridge is gone.
func BridgeGone(name string) error { return fmt.Errorf("bridge %q is %w", name, ErrGone) }

// CutOff returns an error that names the chains FORWARD, among those that block what
// is forwarded, which drop what no rule of iptables accepts.
func CutOff(blockers error) error {
	var errs []error
	for _, err := range separate(blockers) {
		if _, is := isForward(err); is {
			errs = append(errs, WithKind(ErrCutOff, err))
		}
	}
	return errors.Join(errs...)
}
