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
func crowd(n int) records {
	var r records
	for i := range n {
		r.Entries = append(r.Entries, store.NewEntry(policy.Attachment{
			Network: fmt.Sprintf("net%d", i/2), ContainerID: fmt.Sprintf("container%d", i), IfName: "eth0",
			Bridge: fmt.Sprintf("br%d", i/2), IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow,
			AdminChain: "CNI-ADMIN", Backend: policy.IPTables,
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		}))
	}
	return r
}

// another is an attachment that is added to a crowd.
var another = policy.Attachment{
	Network: "net0", ContainerID: "another", IfName: "eth0",
	Bridge: "br0", IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow,
	AdminChain: "CNI-ADMIN", Backend: policy.IPTables,
	Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
}

// BenchmarkDesired is what an ADD makes of the records.
func BenchmarkDesired(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			r := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				r.desired([]policy.Attachment{another}, nil)
			}
		})
	}
}

func TestGrowth(t *testing.T) {
	for name, compute := range map[string]func(r records) int{
		"ADD": func(r records) int { return len(r.desired([]policy.Attachment{another}, nil)) },
		"DEL": func(r records) int {
			d := newRemoval()
			d.add(r.Entries[0].Attachment)
			d.records[r.Entries[0].File()] = r.Entries[0]
			return len(d.freed(policy.Filter, r.remaining(d)))
		},
		"drivers": func(r records) int { return len(inOrder(driversOf(r.Entries))) },
	} {
		t.Run(name, func(t *testing.T) {
			growth.LinearCount(t, func(n int) func() int {
				r := crowd(n)
				return func() int { return compute(r) }
			})
		})
	}
}
