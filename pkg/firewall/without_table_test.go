// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestWithoutTable has a kernel without nf_tables: the filter tables isolate alone, and
// a backend that has nothing but the table is refused.
func TestWithoutTable(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.plug("br1", "c1")
	h.drivers[policy.Table].families, h.drivers[policy.Table].lacks = 0, errors.New("no nf_tables")
	a := attached(policy.IPTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	h.add(a)
	if got, want := h.rules(), "iptables: br1 same-bridge alone, 10.1.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	ok(t, h.engine().Check(a))
	ok(t, h.engine().Status("net", policy.IPTables, policy.SameBridge))
	wrong(t, "ADD", h.engine().Add(attached(policy.NFTables, "br2", "c2", policy.Open, "10.2.0.2"), h.delivered), "no nf_tables")
	wrong(t, "STATUS", h.engine().Status("net", policy.NFTables, policy.SameBridge), "no nf_tables")
	ok(t, h.engine().Del(a))
	if got := h.rules(); got != "" || len(h.warned) > 0 || len(h.records()) > 0 {
		t.Errorf("left %s, records %v, warned %v", got, h.records(), h.warned)
	}
}
