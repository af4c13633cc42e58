// SPDX-License-Identifier: Apache-2.0

package link

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestNeedsFlag wants the flag wherever frames of a family meet no rules, whichever
// addresses the containers have, and where the gateway has a port of its own.
func TestNeedsFlag(t *testing.T) {
	t.Parallel()
	plain, gateway := policy.Bridge{Name: "br1"}, policy.Bridge{Name: "br1", Interfaces: []string{"br1.5"}}
	both, ipv4 := policy.BothFamilies, policy.Families(policy.IPv4)
	for name, c := range map[string]struct {
		bridge     Link
		network    policy.Bridge
		everywhere policy.Families
		want       bool
	}{
		"rules see all":                 {Link{}, plain, both, false},
		"rules see nothing":             {Link{}, plain, 0, true},
		"rules see IPv4":                {Link{}, plain, ipv4, true},
		"rules see the bridge":          {Link{callIPTables: true, callIP6Tables: true}, plain, 0, false},
		"rules see IPv4 of the bridge":  {Link{callIPTables: true}, plain, 0, true},
		"each sees one family":          {Link{callIP6Tables: true}, plain, ipv4, false},
		"the gateway has a port":        {Link{}, gateway, both, true},
		"and rules see nothing, either": {Link{}, gateway, 0, true},
	} {
		if got := NeedsFlag(c.bridge, c.network, c.everywhere); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
