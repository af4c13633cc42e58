// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// lacking is a driver that the host has no means for, or that does not answer.
type lacking struct {
	err    error
	absent bool
	policy.Snapshot
}

func (l lacking) Installed(f policy.Families) (policy.Families, error) {
	if l.absent {
		return 0, l.err
	}
	return f, nil
}

func (l lacking) Read(f policy.Families) (policy.Snapshot, error) {
	if f == 0 {
		return l.Snapshot, nil
	}
	return l.Snapshot, l.err
}

// well is a driver that holds all that it should.
type well struct{ policy.Snapshot }

func (well) Installed(f policy.Families) (policy.Families, error) { return f, nil }
func (w well) Read(policy.Families) (policy.Snapshot, error)      { return w, nil }
func (well) Families() policy.Families                            { return policy.BothFamilies }
func (well) Check(policy.RuleSet) error                           { return nil }
func (well) DropsSameBridge(string) bool                          { return false }
func (well) Obstacles() policy.Obstacles                          { return policy.Obstacles{} }

// TestLookWithout looks at a host with a record and without what its backend
// needs, in the ways that a test cannot bring about on a real one.
func TestLookWithout(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		backend policy.Backend
		drivers map[policy.DriverName]policy.Driver
		want    []diagnosis.Problem
	}{
		"no nf_tables": {
			policy.NFTables,
			map[policy.DriverName]policy.Driver{policy.Table: lacking{fmt.Errorf("%w: why", nftables.ErrUnsupported), true, &nftables.Snapshot{}}},
			[]diagnosis.Problem{{
				Problem: "the kernel lacks nf_tables, which the backends nftables and firewalld need; load the module: " +
					nftables.ErrUnsupported.Error() + ": why",
				Cure: "modprobe nf_tables",
			}},
		},
		"firewalld of another network namespace": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrElsewhere, true, &firewalld.Sources{}}},
			[]diagnosis.Problem{{
				Problem: `firewalld filters another network namespace, not this one; ` +
					`set "backend": "nftables" in the conflist and add the containers again: ` +
					firewalld.ErrElsewhere.Error(),
				Cure: "podman network reload --all",
			}},
		},
		"firewalld for others": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrNotAuthorized, true, &firewalld.Sources{}}},
			[]diagnosis.Problem{{
				Problem: `firewalld refuses this user; set "backend": "nftables" in the conflist and add the containers again: ` +
					firewalld.ErrNotAuthorized.Error(),
				Cure: "podman network reload --all",
			}},
		},
		"a firewalld that hangs": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrNoAnswer, false, &firewalld.Sources{}}},
			[]diagnosis.Problem{{Problem: "firewalld runs but does not answer; restart it: no answer in time", Cure: "systemctl restart firewalld"}},
		},
		"something that is not common": {
			policy.NFTables,
			map[policy.DriverName]policy.Driver{policy.Table: lacking{errors.New("no more memory"), false, &nftables.Snapshot{}}},
			[]diagnosis.Problem{{Problem: "no more memory"}},
		},
		"nothing": {policy.NFTables, map[policy.DriverName]policy.Driver{policy.Table: well{}}, []diagnosis.Problem{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dataDir := filepath.Join(t.TempDir(), "data")
			s, err := store.Open(dataDir)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Put(policy.Attachment{
				Network: "blue", ContainerID: "c1", IfName: "eth0", Backend: test.backend,
				Addresses:     []netip.Prefix{netip.MustParsePrefix("10.4.0.2/32")},
				IngressPolicy: policy.Open, PublishedPorts: policy.Allow, AdminChain: "CNI-ADMIN", Zone: "trusted",
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			host := ThisHost()
			host.Drivers = test.drivers
			v, err := New(dataDir, host).Survey()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, v.Problems, cmpopts.EquateEmpty()); diff != "" || v.InForce() != (len(test.want) == 0) {
				t.Errorf("in force %t (-want +got):\n%s", v.InForce(), diff)
			}
		})
	}
}
