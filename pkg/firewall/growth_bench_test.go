// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cni-isolation/firewall/pkg/internal/growth"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// crowd returns what is remembered of n attachments, two on each bridge.
func crowd(n int) live {
	var l live
	for i := range n {
		l.Entries = append(l.Entries, store.NewEntry(policy.Attachment{
			Network: fmt.Sprintf("net%d", i/2), ContainerID: fmt.Sprintf("container%d", i), IfName: "eth0",
			Bridge: fmt.Sprintf("br%d", i/2), IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow, AdminChain: "CNI-ADMIN", Backend: policy.IPTables,
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		}))
	}
	return l
}

// another is an attachment that is added to a crowd.
var another = policy.Attachment{
	Network: "net0", ContainerID: "another", IfName: "eth0",
	Bridge: "br0", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow, AdminChain: "CNI-ADMIN", Backend: policy.IPTables,
	Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
}

// BenchmarkWith is what an ADD makes of the records.
func BenchmarkWith(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			l := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				l.with(another)
			}
		})
	}
}

func TestGrowth(t *testing.T) {
	for name, compute := range map[string]func(l live) int{
		"ADD": func(l live) int { return len(l.with(another)) },
		"DEL": func(l live) int {
			d := newDeparture()
			d.leave(l.Entries[0].Attachment)
			d.records[l.Entries[0].File()] = l.Entries[0]
			return len(d.freed(policy.Filter, l.staying(d)))
		},
		"places": func(l live) int { return len(placesOfAll(l.Entries)) },
	} {
		t.Run(name, func(t *testing.T) {
			growth.LinearCount(t, func(n int) func() int {
				l := crowd(n)
				return func() int { return compute(l) }
			})
		})
	}
}
