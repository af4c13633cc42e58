// SPDX-License-Identifier: Apache-2.0

package nftables

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
			addr := netip.AddrFrom4([4]byte{10, byte(i / 256), byte(i), byte(2 + host)})
			all = append(all, policy.Attachment{
				ContainerID: fmt.Sprint(host), Bridge: fmt.Sprintf("br%d", i), AdminChain: "CNI-ADMIN",
				IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow,
				Addresses: []netip.Prefix{netip.PrefixFrom(addr, 32)},
			})
		}
	}
	return all
}

// BenchmarkCrowded measures what an ADD computes on a host with many bridges
// where nothing is missing. It includes the fake kernel.
func BenchmarkCrowded(b *testing.B) {
	for _, n := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("bridges=%d", n), func(b *testing.B) {
			all := attachmentsOn(n)
			k := newKernel()
			s, err := read(k.connect())
			if err == nil {
				err = s.Apply(policy.Desired(all...), nil)
			}
			if err != nil {
				b.Fatal(err)
			}
			rs := policy.Desired(all...).With(policy.Desired(all[0]))
			about := []string{all[0].Bridge}
			k.commits = nil
			b.Run("apply", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s, err := read(k.connect())
					if err == nil {
						err = s.Apply(rs, about)
					}
					if err != nil || len(k.commits) > 0 {
						b.Fatal(err, len(k.commits))
					}
				}
			})
		})
	}
}
