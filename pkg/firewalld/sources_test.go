// SPDX-License-Identifier: Apache-2.0

package firewalld

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cni-isolation/firewall/pkg/firewalld/firewalldtest"
	"github.com/cni-isolation/firewall/pkg/policy"
)

// ruleSet returns the rule set of a container in a zone, or in an unknown one.
func ruleSet(zone string, addresses ...string) policy.RuleSet {
	rs := policy.RuleSet{Zones: map[netip.Prefix]string{}}
	for _, text := range addresses {
		a := netip.MustParsePrefix(text)
		rs.Addresses = append(rs.Addresses, a)
		rs.Zones[a] = zone
	}
	return rs
}

const (
	one = "10.4.0.2/32"
	two = "fd00::2/128"
)

var both = ruleSet("trusted", one, two)

// verbs are what a call does with sources.
var verbs = map[string]func(s *Sources, rs policy.RuleSet) error{
	"check":         (*Sources).Check,
	"check foreign": (*Sources).CheckForeign,
	"apply":         func(s *Sources, rs policy.RuleSet) error { return s.Apply(rs, nil) },
	"remove":        (*Sources).Remove,
	"apply and roll back": func(s *Sources, rs policy.RuleSet) error {
		err := s.Apply(rs, nil)
		return errors.Join(err, s.Rollback(rs, false))
	},
}

func TestSources(t *testing.T) {
	t.Parallel()
	c, f := connect(t)
	inTrusted, oneTrusted := map[string]string{one: "trusted", two: "trusted"}, map[string]string{one: "trusted"}
	inWork, twoTrusted := map[string]string{one: "work"}, map[string]string{two: "trusted"}
	for _, test := range []struct {
		name   string
		verb   string
		before map[string]string // zone by source
		rs     policy.RuleSet
		says   string // of the error
		after  map[string]string
		left   string
	}{
		{"new", "apply", nil, both, "", inTrusted, ""},
		{"there", "apply", inTrusted, both, "", inTrusted, ""},
		{"one there", "apply", twoTrusted, both, "", inTrusted, ""},
		{"in another zone", "apply", inWork, both,
			`adding source 10.4.0.2/32 to zone "trusted": ZONE_CONFLICT: ` +
				`'10.4.0.2/32' already bound to a zone: zone "work" has it`,
			map[string]string{one: "work", two: "trusted"}, ""},
		{"in no such zone", "apply", nil, ruleSet("nosuch", one),
			"firewalldZone must be one of public, trusted, work", nil, ""},

		{"new", "apply and roll back", nil, both, "", nil, ""},
		{"one there", "apply and roll back", twoTrusted, both, "", twoTrusted, ""},
		{"in another zone", "apply and roll back", inWork, both, "ZONE_CONFLICT", inWork, ""},

		{"there", "check", inTrusted, both, "", inTrusted, ""},
		{"lost", "check", oneTrusted, both,
			`zone "trusted" lacks source fd00::2/128, which is in no zone`, oneTrusted, ""},
		{"moved", "check", inWork, both,
			`zone "trusted" lacks source 10.4.0.2/32, which is in zone "work"`, inWork, ""},
		{"zone gone", "check", nil, ruleSet("nosuch", one), "must be one of public, trusted, work", nil, ""},
		{"zone gone, both", "check", inWork, ruleSet("nosuch", one, two), "must be one of public, trusted, work", inWork, ""},
		{"zone not known", "check", inWork, ruleSet("", one), "", inWork, ""},
		{"zone not known, lost", "check", nil, ruleSet("", one), "source 10.4.0.2/32 is missing", nil, ""},
		{"nothing", "check", nil, policy.RuleSet{}, "", nil, ""},

		{"there", "remove", map[string]string{one: "trusted", two: "trusted", "10.4.0.3/32": "trusted"}, both, "",
			map[string]string{"10.4.0.3/32": "trusted"}, ""},
		{"gone", "remove", nil, both, "", nil, ""},
		{"moved", "remove", map[string]string{one: "work", two: "trusted"}, both, "",
			inWork, `removing source 10.4.0.2/32 from zone "trusted": somebody moved it to zone "work"`},
		{"zone gone", "remove", oneTrusted, ruleSet("nosuch", one), "", oneTrusted, "moved"},
	} {
		name := test.verb + " " + test.name
		for _, source := range f.Sources() {
			f.Bind(strings.Fields(source)[0], "")
		}
		for source, zone := range test.before {
			f.Bind(source, zone)
		}
		s := c.Sources(policy.BothFamilies)
		err := verbs[test.verb](s, test.rs)
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if left := fmt.Sprint(s.Leftovers()); test.left == "" && s.Leftovers() != nil || !strings.Contains(left, test.left) {
			t.Errorf("%s: left %s", name, left)
		}
		var want []string
		for source, zone := range test.after {
			want = append(want, source+" "+zone)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, f.Sources(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestOneQuestion wants one call to ask for all sources, and what is wrong with the last
// one to be told.
func TestOneQuestion(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 2, 100} {
		c, f := connect(t)
		var addresses []string
		for i := range count {
			addresses = append(addresses, fmt.Sprintf("10.4.0.%d/32", i))
			f.Bind(addresses[i], "trusted")
		}
		rs, s, last := ruleSet("trusted", addresses...), c.Sources(policy.BothFamilies), addresses[count-1]
		if err := s.Check(rs); err != nil {
			t.Error(err)
		}
		if calls := f.Calls(); len(calls) != 1 {
			t.Errorf("%d sources: %d calls: %v", count, len(calls), calls)
		}
		for zone, says := range map[string]string{"": "in no zone", "work": `in zone "work"`} {
			f.Bind(last, zone)
			want := last + ", which is " + says
			if err := s.Check(rs); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d sources: got error %v, want %q", count, err, want)
			}
		}
	}
}

func TestWithoutFirewalld(t *testing.T) {
	t.Parallel()
	s := &Sources{}
	for name, do := range verbs {
		if err := do(s, policy.RuleSet{}); err != nil {
			t.Errorf("%s nothing: %v", name, err)
		}
		if err := do(s, both); (err == nil) != (name == "remove") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Obstacles().Published; err != nil || s.Families() != 0 {
		t.Errorf("%v, %v", err, s)
	}
	held, err := s.Held()
	if s.DropsSameBridge("br0") || !held.IsEmpty() || err != nil || s.RemoveForeign() != nil {
		t.Error("zones isolate")
	}
}

func TestStrict(t *testing.T) {
	t.Parallel()
	c, f := connect(t)
	for value, strict := range map[string]bool{"": false, "no": false, "yes": true} {
		f.SetStrictForwardPorts(value)
		if err := c.Sources(policy.BothFamilies).Obstacles().Published; (err != nil) != strict {
			t.Errorf("StrictForwardPorts=%s: %v", value, err)
		}
	}
	f.Inject(firewalldtest.Hang, 1, false)
	c.deadline = short
	if err := c.Sources(policy.BothFamilies).Obstacles().Published; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("hanging: %v", err)
	}
}
