// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// countingDriver has counted.
type countingDriver struct {
	*fakeDriver

	drops []policy.Drop
	err   error
}

func (d countingDriver) Drops() ([]policy.Drop, error) { return d.drops, d.err }

// TestDrops asks iptables only where a record says so, and adds up what several rules count.
func TestDrops(t *testing.T) {
	t.Parallel()
	drop := func(from, to string, by policy.CountedBy, packets uint64) policy.Drop {
		return policy.Drop{From: from, To: to, Reason: policy.DropIsolation, CountedBy: by, Packets: packets, Bytes: 100 * packets}
	}
	late := drop("br2", "br1", policy.CountedByNFTables, 3)
	late.Last = time.Unix(5, 0)
	inTable := []policy.Drop{late, drop("br1", "br2", policy.CountedByNFTables, 2)}
	inFilter := []policy.Drop{drop("", "br1", policy.CountedByIPTables, 4), drop("", "br1", policy.CountedByIPTables, 5)}
	ordered := []policy.Drop{inTable[1], inTable[0]}
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		backend policy.Backend
		err     error
		want    []policy.Drop
	}{
		"nftables":           {policy.NFTables, nil, ordered},
		"iptables":           {policy.IPTables, nil, append([]policy.Drop{drop("", "br1", policy.CountedByIPTables, 9)}, ordered...)},
		"iptables is broken": {policy.IPTables, broken, ordered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.plug("br1", "c1")
			h.add(attached(test.backend, "br1", "c1", policy.SameBridge, "10.1.0.2"))
			fw := h.engine()
			fw.drivers.all[policy.Table] = countingDriver{h.drivers[policy.Table], inTable, nil}
			filter := countingDriver{h.drivers[policy.Filter], inFilter, test.err}
			if test.err != nil {
				filter.drops = nil
			}
			fw.drivers.all[policy.Filter] = filter
			h.took()
			got, err := fw.Drops()
			if diff := cmp.Diff(test.want, got); diff != "" || !errors.Is(err, test.err) {
				t.Errorf("%v\n%s", err, diff)
			}
			if steps := h.took(); len(steps) > 0 {
				t.Errorf("did %q", steps)
			}
		})
	}
}

// TestPlaces tells whose interfaces are: networks may share a bridge.
func TestPlaces(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, c := range []string{"c1", "c2"} {
		h.plug("br1", c)
	}
	h.plug("br3", "c3")
	one := attached(policy.NFTables, "br1", "c1", policy.SameBridge, "10.1.0.2")
	two := attached(policy.NFTables, "br1", "c2", policy.SameBridge, "10.1.0.3")
	two.Network = "another"
	three := attached(policy.IPTables, "br3", "c3", policy.Isolated, "10.3.0.2")
	for _, a := range []policy.Attachment{one, two, three} {
		h.add(a)
	}
	got, err := h.engine().Holders()
	want := map[string]Holder{
		"br1":      {[]string{two.Network, one.Network}, ""},
		"br3":      {[]string{three.Network}, ""},
		one.Port:   {[]string{one.Network}, one.ContainerID},
		two.Port:   {[]string{two.Network}, two.ContainerID},
		three.Port: {[]string{three.Network}, three.ContainerID},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}
