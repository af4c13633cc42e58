// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// TestMemory bounds what a call allocates for the containers of others. A process that lives
// for milliseconds gets each page from the kernel, by a page fault. The test must not be
// parallel.
func TestMemory(t *testing.T) {
	const (
		containers = 400
		bridges    = 50
		limit      = 4 * containers * uint64(unsafe.Sizeof(store.Entry{})) // the listing takes two
	)
	h := newHost(t)
	h.drivers[policy.Zones].unread, h.drivers[policy.Filter].families = firewalld.ErrNotRunning, 0
	s, err := store.Open(h.dataDir)
	ok(t, err)
	for i := range containers {
		ok(t, s.Put(h.nth(i, bridges), nil))
	}
	a := h.nth(containers, bridges)
	unnamed := a
	unnamed.Backend = ""
	for _, call := range []struct {
		verb string
		do   func() error
	}{
		{"ADD", func() error { return h.engine().Add(unnamed, h.delivered) }},
		{"DEL", func() error { return h.engine().Del(a) }},
	} {
		bytes := allocated(t, call.do)
		t.Logf("%s: %d bytes for each record", call.verb, bytes/containers)
		if bytes > limit {
			t.Errorf("%s: %d bytes for %d records: more than %d", call.verb, bytes, containers, limit)
		}
	}
}

// nth returns the attachment of a container, plugged into one of some bridges.
func (h *fakeHost) nth(i, bridges int) policy.Attachment {
	bridge, id := fmt.Sprintf("br%d", i%bridges), fmt.Sprintf("c%d", i)
	h.plug(bridge, id)
	port := h.links.links[portOf(bridge, id)]
	return policy.Attachment{
		Network: "net", ContainerID: id, IfName: "eth0",
		Bridge: bridge, BridgeIndex: port.MasterIndex, Port: port.Name, PortIndex: port.Index,
		IngressPolicy: policy.SameBridge, PublishedPorts: policy.Allow, AdminChain: "CNI-ADMIN", Zone: "trusted",
		Backend:   policy.NFTables,
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i % bridges), byte(i >> 8), byte(i)}), 32)},
	}
}

// allocated returns how many bytes a call allocates.
func allocated(t *testing.T, call func() error) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ok(t, call())
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
