// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// countedRules is what "iptables -v -S" lists of the isolation, and of others.
const countedRules = `-P FORWARD ACCEPT -c 9 900
-N CNI-ISOLATION-STAGE-1
-N CNI-ISOLATION-STAGE-2
-N MINE
-A FORWARD -c 8 800 -j CNI-ISOLATION-STAGE-1
-A CNI-ISOLATION-STAGE-1 -i br2 -o br2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -c 7 700 -j DROP
-A CNI-ISOLATION-STAGE-1 ! -i br3 -o br3 -m conntrack ! --ctstate DNAT --ctdir ORIGINAL -m comment --comment "of -c 1 1" -c 6 600 -j DROP
-A CNI-ISOLATION-STAGE-1 -i br1 ! -o br1 -m comment --comment "CNI firewall plugin rules" -c 5 500 -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-2 -o br1 -m comment --comment "CNI firewall plugin rules" -c 18446744073709551615 400 -j DROP
-A CNI-ISOLATION-STAGE-2 -o br2 -m comment --comment "CNI firewall plugin rules" -c 0 0 -j DROP
-A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules" -c 3 300 -j RETURN
-A MINE -i br1 -o br2 -c 2 200 -j DROP
`

func TestDrops(t *testing.T) {
	f := newFake(t, "iptables", "iptables-restore")
	f.write("iptables", countedRules)
	drop := func(from, to string, packets, bytes uint64) policy.Drop {
		return policy.Drop{
			From: from, To: to, Reason: policy.DropIsolation, CountedBy: policy.CountedByIPTables, Packets: packets, Bytes: bytes,
		}
	}
	want := []policy.Drop{drop("br2", "br2", 7, 700), drop("", "br3", 6, 600), drop("", "br1", 1<<64-1, 400)}
	got, err := Driver{}.Drops()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if calls := f.calls(); len(calls) != 1 {
		t.Errorf("started %q", calls)
	}
	f.fault("iptables", "fail")
	if _, err := (Driver{}).Drops(); err == nil || !strings.Contains(err.Error(), "IPv4") {
		t.Errorf("got %v", err)
	}
}

// TestDropsWithout expects a host without iptables to have dropped nothing by it.
func TestDropsWithout(t *testing.T) {
	newFake(t)
	if drops, err := (Driver{}).Drops(); err != nil || drops != nil {
		t.Errorf("got %v, %v", drops, err)
	}
}
