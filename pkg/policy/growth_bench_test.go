// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
)

// crowd returns n attachments, two on each bridge.
func crowd(n int) []Attachment {
	var all []Attachment
	for i := range n {
		all = append(all, Attachment{
			Network: fmt.Sprintf("net%d", i/2), ContainerID: fmt.Sprintf("container%d", i), IfName: "eth0",
			Bridge: fmt.Sprintf("br%d", i/2), IngressPolicy: IngressPolicies[i%3], PublishedPorts: Allow,
			AdminChain: "CNI-ADMIN", Backend: IPTables,
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		})
	}
	return all
}

// BenchmarkDesired computes the rule set of all containers of a host.
func BenchmarkDesired(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			all := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				Desired(all...)
			}
		})
	}
}

func TestGrowth(t *testing.T) {
	var rs RuleSet // kept, so that the compiler cannot drop the computation
	for name, compute := range map[string]func(all []Attachment){
		"all":       func(all []Attachment) { rs = Desired(all...) },
		"by driver": func(all []Attachment) { rs = ByDriver(all, all)[Filter] },
		"one added": func(all []Attachment) { rs = ByDriver(all, all[:1])[Filter].On("br0") },
		"a family":  func(all []Attachment) { rs = Desired(all...).In(IPv4) },
	} {
		t.Run(name, func(t *testing.T) {
			growth.Linear(t, func(n int) func() {
				all := crowd(n)
				return func() { compute(all) }
			})
			if len(rs.Bridges) == 0 {
				t.Error("nothing was computed")
			}
		})
	}
}
