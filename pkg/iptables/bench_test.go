// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// attachmentsOn returns two attachments on each of n bridges.
func attachmentsOn(n int) []policy.Attachment {
	var all []policy.Attachment
	for i := range n {
		for host := range 2 {
			address := netip.AddrFrom4([4]byte{10, byte(i / 256), byte(i), byte(2 + host)})
			all = append(all, policy.Attachment{
				Bridge: fmt.Sprintf("br%d", i), AdminChain: "CNI-ADMIN",
				IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow,
				Addresses: []netip.Prefix{netip.PrefixFrom(address, 32)},
			})
		}
	}
	return all
}

// BenchmarkCrowded measures what an ADD computes on a host with many bridges where
// nothing is missing.
func BenchmarkCrowded(b *testing.B) {
	for _, n := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("bridges=%d", n), func(b *testing.B) {
			all := attachmentsOn(n)
			rs := policy.Desired(all...)
			host := newFakeTable("")
			for _, line := range planApply(mustParse(host.list()), policy.IPv4, rs).lines() {
				if err := host.command(line); err != nil {
					b.Fatal(err)
				}
			}
			listing := host.list()
			b.Run("parse", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					mustParse(listing)
				}
			})
			b.Run("compare", func(b *testing.B) {
				b.ReportAllocs()
				parsed := mustParse(listing)
				for b.Loop() {
					if p := planApply(parsed, policy.IPv4, rs.With(policy.Desired(all[0]))); len(p) > 0 {
						b.Fatal(p.script())
					}
				}
			})
		})
	}
}
