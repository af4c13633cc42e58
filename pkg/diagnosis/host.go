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

// notForwarding is a sysctl that makes the host forward packets of a family, and that
// is 0.
type notForwarding string

func (n notForwarding) Error() string { return "the sysctl " + string(n) + " is 0" }

// forwardingOf has, by family, the sysctl that makes the host forward.
var forwardingOf = map[policy.Family]notForwarding{
	policy.IPv4: "net.ipv4.ip_forward",
	policy.IPv6: "net.ipv6.conf.all.forwarding",
}

// Forwards returns an error if the host forwards no packets of a family that
// containers need it for. The error names the sysctl.
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

// routed returns the families in which the host routes for containers on bridges. It
// routes for a bridge if it has an address there. If it has none, nothing leaves the
// network (Podman's --internal), or the network has a router of its own. Networks
// without a bridge do not count: a macvlan's packets bypass the host.
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

// addressed returns the families in which the host has an address on a bridge,
// link-local ones aside. It has none on a bridge that is gone.
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
