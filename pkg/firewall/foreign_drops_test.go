// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// dropping is a snapshot with rules of other programs.
type dropping struct {
	policy.Snapshot
	obstacles policy.Obstacles
}

func (d dropping) ForeignDrops() (policy.Obstacles, error) { return d.obstacles, nil }

// TestForeignDropsOfTable wants of the table, where a backend only isolates, no word about
// what keeps accepted traffic out, and every word about what passes by it.
func TestForeignDropsOfTable(t *testing.T) {
	t.Parallel()
	flowtable := &nftables.Flowtable{Family: "inet", Table: "mine", Name: "fast"}
	dropper := &nftables.ForwardDropper{Family: "inet", Table: "mine", Chain: "forward"}
	blocker := errors.New("a blocker")
	s := snapshots{
		policy.Table:  dropping{obstacles: policy.Obstacles{Forwarding: blocker, Possible: errors.Join(dropper, flowtable)}},
		policy.Filter: dropping{obstacles: policy.Obstacles{Possible: errors.New("a former variant")}},
		policy.Zones:  dropping{},
	}
	for backend, want := range map[policy.Backend]string{
		policy.IPTables:  "flowtable fast of table inet mine\na former variant",
		policy.NFTables:  "a blocker\n" + dropper.Error() + "\n" + flowtable.Error(),
		policy.Firewalld: "a blocker\n" + dropper.Error() + "\n" + flowtable.Error(),
	} {
		got, err := s.foreignDrops(backend)
		if diff := cmp.Diff(want, errors.Join(got.Forwarding, got.Possible).Error()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", backend, err, diff)
		}
	}
}
