// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// fakeKernel deletes rules from fake tables.
type fakeKernel struct {
	tables     map[policy.Family]*fakeTable
	generation uint32
	err        error // of deletions
	deletions  int
}

func (k *fakeKernel) HasChain(policy.Family, string, []string) (bool, error) { return false, nil }

func (k *fakeKernel) Generation() (uint32, error) { return k.generation, nil }

func (k *fakeKernel) DeleteRules(generation uint32, all []policy.Deletion) error {
	k.deletions++
	if k.err != nil || generation != k.generation {
		return errors.Join(k.err, errors.New("not this time"))
	}
	for _, d := range all {
		rules := k.tables[d.Family].rules
		if len(rules[d.Chain]) != d.Of {
			return errors.New("another chain")
		}
		var rest []string
		for at, r := range rules[d.Chain] {
			if !slices.Contains(d.Places, at) {
				rest = append(rest, r)
			}
		}
		rules[d.Chain] = rest
	}
	for _, d := range all {
		if !d.Whole {
			continue
		}
		if err := k.tables[d.Family].command("-X " + d.Chain); err != nil {
			return err
		}
	}
	return nil
}

// snapshotOf reads fake tables by programs of a name.
func (k *fakeKernel) snapshotOf(t *testing.T, program string) *Snapshot {
	t.Helper()
	s := &Snapshot{families: map[policy.Family]*family{}, kernel: k, generation: k.generation}
	for name, host := range k.tables {
		s.families[name] = &family{name: name, programs: programs{list: program}, table: parse(t, host.list())}
	}
	return s
}

// TestAtOnce removes bridges and addresses from both families in one transaction: what is
// left is what iptables-restore leaves.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	addresses := []string{"10.1.0.2", "10.2.0.2", "10.3.0.2", "10.4.0.2", "fd01::2", "fd02::2"}
	for name, test := range map[string]struct {
		addresses []string
		bridges   []string
	}{
		"an address":              {addresses[:1], nil},
		"an address of each kind": {[]string{addresses[1], addresses[4]}, nil},
		"a bridge":                {nil, []string{"br2"}},
		"a bridge and what is on": {[]string{addresses[0], addresses[4]}, []string{"br1"}},
		"all but one bridge":      {addresses[1:], []string{"br2", "br3", "br4"}},
		"everything":              {addresses, []string{"br1", "br2", "br3", "br4"}},
		"nothing that is there":   {[]string{"10.9.9.9"}, []string{"br9"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &fakeKernel{generation: 7, tables: map[policy.Family]*fakeTable{}}
			var rs policy.RuleSet
			for _, b := range test.bridges {
				rs.Bridges = append(rs.Bridges, policy.Bridge{Name: b, Families: policy.BothFamilies})
			}
			for _, a := range test.addresses {
				ip := netip.MustParseAddr(a)
				rs.Addresses = append(rs.Addresses, netip.PrefixFrom(ip, ip.BitLen()))
			}
			want := map[policy.Family]string{}
			for _, f := range policy.BothFamilies.List() {
				k.tables[f] = crowded(t, f)
				other := newFakeTable(k.tables[f].list())
				if err := other.restore(planRemove(parse(t, other.list()), rs.In(f)).script()); err != nil {
					t.Fatal(err)
				}
				want[f] = other.list()
			}
			if !k.snapshotOf(t, "iptables-nft").removedAtOnce(rs) {
				t.Fatal("left to iptables-restore")
			}
			for f, host := range k.tables {
				if diff := cmp.Diff(want[f], host.list()); diff != "" {
					t.Errorf("%s (-restore +at once):\n%s", f, diff)
				}
			}
		})
	}
}

// crowded returns a table of one family with four bridges, rules of others between the
// plugin's, some of them twice, and some of versions that wrote another comment.
func crowded(t *testing.T, f policy.Family) *fakeTable {
	t.Helper()
	host := newFakeTable("")
	var all []policy.Attachment
	for i, p := range []policy.IngressPolicy{policy.SameBridge, policy.Isolated, policy.SameBridge, policy.Open} {
		n := string(rune('1' + i))
		all = append(all, container("br"+n, p, policy.Allow, "10."+n+".0.2", "fd0"+n+"::2"))
	}
	if err := host.restore(planApply(parse(t, host.list()), f, policy.Desired(all...)).script()); err != nil {
		t.Fatal(err)
	}
	for _, chain := range variableChains {
		rules := host.rules[chain]
		for i, r := range slices.Backward(rules) {
			switch i % 3 {
			case 0:
				rules = slices.Insert(rules, i, r)
			case 1:
				rules = slices.Insert(rules, i, string(rule(r).withOldComment()))
			}
		}
		host.rules[chain] = rules
	}
	return host
}

// TestNotAtOnce wants programs to be left the work where the kernel cannot do it for certain.
func TestNotAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program    string
		generation uint32
		err        error
		asked      int
	}{
		"as it should be":     {"iptables-nft", 7, nil, 1},
		"legacy":              {"xtables-legacy-multi", 7, nil, 0},
		"a script":            {"iptables", 7, nil, 0},
		"unknown generation":  {"iptables-nft", 0, nil, 0},
		"the kernel refuses":  {"iptables-nft", 7, errors.New("busy"), 1},
		"another change came": {"iptables-nft", 6, nil, 1},
	} {
		k := &fakeKernel{generation: 7, err: test.err, tables: map[policy.Family]*fakeTable{policy.IPv4: crowded(t, policy.IPv4)}}
		before := k.tables[policy.IPv4].list()
		s := k.snapshotOf(t, test.program)
		s.generation = test.generation
		done := s.removedAtOnce(sample())
		if want := name == "as it should be"; done != want || (before != k.tables[policy.IPv4].list()) != want {
			t.Errorf("%s: done %t", name, done)
		}
		if k.deletions != test.asked {
			t.Errorf("%s: asked %d times", name, k.deletions)
		}
	}
}
