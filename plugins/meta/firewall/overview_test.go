// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		want    []problem
	}{
		"no nf_tables": {
			policy.NFTables,
			map[policy.DriverName]policy.Driver{policy.Table: lacking{fmt.Errorf("%w: why", nftables.ErrUnsupported), true, &nftables.Snapshot{}}},
			[]problem{{
				"the kernel lacks nf_tables, which the backends nftables and firewalld need: " + nftables.ErrUnsupported.Error() + ": why",
				"modprobe nf_tables",
			}},
		},
		"firewalld of another network namespace": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrElsewhere, true, &firewalld.Sources{}}},
			[]problem{{
				`firewalld does not filter this network namespace (set "backend": "nftables" in the conflist and add the containers again): ` +
					firewalld.ErrElsewhere.Error(),
				"podman network reload --all",
			}},
		},
		"firewalld for others": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrNotAuthorized, true, &firewalld.Sources{}}},
			[]problem{{
				`firewalld does not serve this user (set "backend": "nftables" in the conflist and add the containers again): ` +
					firewalld.ErrNotAuthorized.Error(),
				"podman network reload --all",
			}},
		},
		"a firewalld that hangs": {
			policy.Firewalld,
			map[policy.DriverName]policy.Driver{policy.Table: well{}, policy.Zones: lacking{firewalld.ErrNoAnswer, false, &firewalld.Sources{}}},
			[]problem{{"firewalld runs and does not answer: no answer in time", "systemctl restart firewalld"}},
		},
		"something that is not common": {
			policy.NFTables,
			map[policy.DriverName]policy.Driver{policy.Table: lacking{errors.New("no more memory"), false, &nftables.Snapshot{}}},
			[]problem{{"no more memory", ""}},
		},
		"nothing": {policy.NFTables, map[policy.DriverName]policy.Driver{policy.Table: well{}}, []problem{}},
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
			v, err := plugin{drivers: test.drivers}.look(dataDir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, v.Problems); diff != "" || v.InForce != (len(test.want) == 0) {
				t.Errorf("in force %t (-want +got):\n%s", v.InForce, diff)
			}
		})
	}
}
