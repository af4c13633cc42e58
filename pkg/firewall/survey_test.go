// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/pkg/diagnosis"
	"github.com/cni-isolation/firewall/pkg/firewalld"
	"github.com/cni-isolation/firewall/pkg/nftables"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// problem returns one problem, or none.
func problem(text, cure string) []diagnosis.Problem {
	if text == "" {
		return nil
	}
	return []diagnosis.Problem{{Problem: text, Cure: cure}}
}

// TestSurveyWithout looks at a host that lost what its backend needs, in ways that a
// test cannot bring about on a real one.
func TestSurveyWithout(t *testing.T) {
	t.Parallel()
	const useNFTables = `set "backend": "nftables" in the conflist and add the containers again: `
	for name, test := range map[string]struct {
		backend policy.Backend
		driver  policy.DriverName
		lacks   bool // the means; else the driver does not answer
		err     error
		want    []diagnosis.Problem
	}{
		"no nf_tables": {
			policy.NFTables, policy.Table, true, fmt.Errorf("%w: why", nftables.ErrUnsupported),
			problem("the kernel lacks nf_tables, which the backends nftables and firewalld need; load the module: "+
				nftables.ErrUnsupported.Error()+": why", "modprobe nf_tables"),
		},
		"firewalld of another network namespace": {
			policy.Firewalld, policy.Zones, true, firewalld.ErrElsewhere,
			problem("firewalld filters another network namespace, not this one; "+useNFTables+
				firewalld.ErrElsewhere.Error(), "podman network reload --all"),
		},
		"firewalld for others": {
			policy.Firewalld, policy.Zones, true, firewalld.ErrNotAuthorized,
			problem("firewalld refuses this user; "+useNFTables+
				firewalld.ErrNotAuthorized.Error(), "podman network reload --all"),
		},
		"a firewalld that hangs": {
			policy.Firewalld, policy.Zones, false, firewalld.ErrNoAnswer,
			problem("firewalld did not answer in time: it starts, reloads, has too much to do, or hangs; "+
				"try again, and restart it only if that does not help: no answer in time", "systemctl restart firewalld"),
		},
		"something that is not common": {
			policy.NFTables, policy.Table, false, errors.New("no more memory"), problem("no more memory", ""),
		},
		"nothing": {policy.NFTables, policy.Table, false, nil, problem("", "")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := twoBridges(t, test.backend)
			d := h.drivers[test.driver]
			d.unread = test.err
			if test.lacks {
				d.families, d.lacks = 0, test.err
			}
			v, err := h.engine().Survey()
			ok(t, err)
			if diff := cmp.Diff(test.want, v.Problems, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if v.InForce() != (len(test.want) == 0) {
				t.Errorf("in force: %t", v.InForce())
			}
		})
	}
}

// TestSurveySources has one container's ADD change the policy of its network, and so the
// records of the others: where the policy comes from is changed with it, and no more.
func TestSurveySources(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for i, from := range []string{"conflist", "defaults"} {
		container := fmt.Sprintf("c%d", i)
		h.plug("br1", container)
		p := []policy.IngressPolicy{policy.SameBridge, policy.Isolated}[i]
		a := attached(policy.NFTables, "br1", container, p, fmt.Sprintf("10.1.0.%d", 2+i))
		a.Sources = policy.Sources{policy.KeyIngressPolicy: from, policy.KeyBackend: from, policy.KeyZone: "unset"}
		h.add(a)
	}
	v, err := h.engine().Survey()
	ok(t, err)
	if len(v.Networks) != 1 {
		t.Fatalf("got %+v", v.Networks)
	}
	want := policy.Sources{
		policy.KeyIngressPolicy: "defaults", policy.KeyBackend: "conflist, defaults", policy.KeyZone: "unset",
	}
	if diff := cmp.Diff(want, v.Networks[0].Sources); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
