// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// upstreamRules returns, as iptables-restore reads it, what upstream's plugin
// leaves in the filter table of one family after its ADD for containers, one
// after the other. A thousand of its ADDs take minutes. That the two are the
// same is looked at each time: see prove.
func upstreamRules(containers []container, ipv6, forward bool) string {
	var bridges []string
	var accept []string
	for _, c := range containers {
		if !slices.Contains(bridges, c.bridge()) {
			bridges = append(bridges, c.bridge())
		}
		for _, text := range c.addresses() {
			address := netip.MustParsePrefix(text).Addr()
			if address.Is6() == ipv6 {
				host := netip.PrefixFrom(address, address.BitLen())
				accept = append(accept,
					fmt.Sprintf("-A CNI-FORWARD -d %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", host),
					fmt.Sprintf("-A CNI-FORWARD -s %s -j ACCEPT", host))
			}
		}
	}
	if accept == nil {
		return ""
	}
	lines := []string{"*filter"}
	if forward {
		lines = append(lines, ":CNI-FORWARD - [0:0]", ":CNI-ADMIN - [0:0]")
	}
	lines = append(lines, ":CNI-ISOLATION-STAGE-1 - [0:0]", ":CNI-ISOLATION-STAGE-2 - [0:0]")
	const isolation = `-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"`
	if forward {
		lines = append(lines, `-I FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`,
			`-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`)
		lines = append(lines, accept...)
	}
	lines = append(lines, "-I FORWARD "+isolation+" -j CNI-ISOLATION-STAGE-1")
	for _, b := range slices.Backward(bridges) { // each goes to the head
		lines = append(lines, fmt.Sprintf(
			`-A CNI-ISOLATION-STAGE-1 -i %s ! -o %[1]s -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j CNI-ISOLATION-STAGE-2`, b))
	}
	lines = append(lines, "-A CNI-ISOLATION-STAGE-1 "+isolation+" -j RETURN")
	for _, b := range slices.Backward(bridges) {
		lines = append(lines, "-A CNI-ISOLATION-STAGE-2 -o "+b+" "+isolation+" -j DROP")
	}
	lines = append(lines, "-A CNI-ISOLATION-STAGE-2 "+isolation+" -j RETURN", "COMMIT")
	return strings.Join(lines, "\n") + "\n"
}
