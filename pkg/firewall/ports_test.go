// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestPortFlags has the bridge itself separate containers where no rule can: the flag
// is set ahead of the rules, cleared with the policy, and follows br_netfilter.
func TestPortFlags(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.links.filtered = 0
	h.plug("br2", "c3")
	open := attached(policy.NFTables, "br2", "c3", policy.Open, "10.2.0.3")
	port, other := portOf("br2", "c2"), portOf("br2", "c3")
	restore := func(filtered policy.Families) func() error {
		return func() error {
			h.links.filtered = filtered
			_, err := h.engine().Restore()
			return err
		}
	}
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"isolated", func() error { return h.engine().Add(a, h.delivered) },
			[]string{"flag " + port + " true", "flag " + other + " true", "apply nftables: br1 same-bridge, br2 isolated, 10.1.0.2, 10.2.0.2", "deliver"}},
		{"br_netfilter on", restore(policy.BothFamilies),
			[]string{"flag " + port + " false", "flag " + other + " false"}},
		{"and off", restore(0),
			[]string{"flag " + port + " true", "flag " + other + " true"}},
		{"open", func() error { return h.engine().Add(open, h.delivered) },
			[]string{
				"flag " + port + " false", "flag " + other + " false",
				"apply nftables: br1 same-bridge, 10.1.0.2, 10.2.0.2, 10.2.0.3", "deliver",
			}},
	} {
		ok(t, step.do())
		if diff := cmp.Diff(step.want, h.took()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestPortFlagsRollback gives ports back the flags that they had.
func TestPortFlagsRollback(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.links.filtered = 0
	port := portOf("br2", "c2")
	undelivered := func() error { return errRefused }
	if err := h.engine().Add(a, undelivered); !errors.Is(err, errRefused) || h.links.links[port].Isolated {
		t.Errorf("%v, flag %t", err, h.links.links[port].Isolated)
	}
	h.add(a)
	open := attached(policy.NFTables, "br2", "c3", policy.Open, "10.2.0.3")
	if err := h.engine().Add(open, undelivered); !errors.Is(err, errRefused) || !h.links.links[port].Isolated {
		t.Errorf("%v, flag %t", err, h.links.links[port].Isolated)
	}
	wrong(t, "CHECK", h.engine().Check(a), "")
}

// TestPortFlagsFail writes no rule where a port cannot be flagged.
func TestPortFlagsFail(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.links.filtered = 0
	before := h.rules()
	h.refuse("flag")
	if err := h.engine().Add(a, h.delivered); !errors.Is(err, errRefused) || h.rules() != before {
		t.Errorf("%v, %s", err, h.rules())
	}
	h.before = nil
	h.links.err = errRefused
	if err := h.engine().Add(a, h.delivered); !errors.Is(err, errRefused) || h.rules() != before {
		t.Errorf("%v, %s", err, h.rules())
	}
	wrong(t, "CHECK", h.engine().ports.check(&records{}, []policy.Bridge{{Name: "br2", IngressPolicy: policy.Isolated}}), "refused")
}

// TestPolicyConverts has an ADD change its network's policy, which the records of the
// network's other containers then say, too.
func TestPolicyConverts(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.NFTables)
	h.add(a)
	h.plug("br2", "c3")
	h.add(attached(policy.NFTables, "br2", "c3", policy.SameBridge, "10.2.0.3"))
	wrong(t, "CHECK of the first", h.engine().Check(a), "bridge br2 is not isolated")
	for _, address := range []string{"10.2.0.2", "10.2.0.3"} {
		if r, _ := h.recordOf(address); r.IngressPolicy != policy.SameBridge {
			t.Errorf("%s: recorded %s", address, r.IngressPolicy)
		}
	}
	if got := h.rules(); !strings.Contains(got, "br2 same-bridge") {
		t.Errorf("rules %s", got)
	}
}

// TestStricterHolds has networks disagree about the bridge that they share, and a call
// for another bridge put its isolation back, in whatever order the records are listed.
func TestStricterHolds(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		h, other := twoBridges(t, policy.NFTables)
		for i, p := range []policy.IngressPolicy{policy.Open, policy.SameBridge, policy.Isolated, policy.Open} {
			a := attached(policy.NFTables, "br3", fmt.Sprintf("n%d", i), p, fmt.Sprintf("10.3.0.%d", 2+i))
			a.Network = fmt.Sprintf("net%d-%d", round, i)
			h.plug("br3", a.ContainerID)
			h.add(a)
		}
		h.drivers[policy.Table].holds = newHolding()
		h.add(other)
		if got := h.rules(); got != "nftables: br1 same-bridge, br2 isolated, br3 isolated, 10.2.0.2" {
			t.Errorf("rules %s", got)
		}
	}
}

// TestZoneChanges has a network name another zone: the address leaves its former one
// first, and returns to it where the ADD fails.
func TestZoneChanges(t *testing.T) {
	t.Parallel()
	h, a := twoBridges(t, policy.Firewalld)
	h.add(a)
	h.took()
	moved := a
	moved.Zone = "dmz"
	before := h.rules()
	if err := h.engine().Add(moved, func() error { return errRefused }); !errors.Is(err, errRefused) {
		t.Fatal(err)
	}
	if got := h.rules(); got != before {
		t.Errorf("left %s\nof   %s", got, before)
	}
	if r, _ := h.recordOf("10.2.0.2"); r.Zone != "trusted" {
		t.Errorf("recorded zone %s", r.Zone)
	}
	h.took()
	h.add(moved)
	want := []string{"remove firewalld: 10.1.0.2", "apply firewalld: 10.1.0.2, 10.2.0.2", "deliver"}
	if diff := cmp.Diff(want, h.took()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.refuse("remove firewalld")
	again := moved
	again.Zone = "work"
	if err := h.engine().Add(again, h.delivered); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	if r, _ := h.recordOf("10.2.0.2"); r.Zone != "dmz" {
		t.Errorf("recorded zone %s", r.Zone)
	}
}
