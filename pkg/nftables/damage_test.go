// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// damage is a change by another program to the table.
type damage struct {
	name          string
	do            func(*hostTable)
	want          string // first difference that a check names
	losesElements bool   // of other containers too
}

const (
	incompatibleChain = " has a different hook, priority or policy, or belongs to another layout"
	incompatibleSet   = " has a different type, or belongs to another layout"
)

// damages returns every single damage.
func damages() []damage {
	all := []damage{
		{"table dormant", func(t *hostTable) {
			t.attrs = t.attrs.with(attributes{unix.NFTA_TABLE_FLAGS: {0, 0, 0, unix.NFT_TABLE_F_DORMANT}})
		}, "the table is dormant", false},
		{"admin chain missing", func(t *hostTable) { t.drop("CNI-ADMIN") }, "chain CNI-ADMIN is missing", false},
		{"second jump to the operator's chain", func(t *hostTable) {
			c := t.chain(chainForward)
			c.rules = append(c.rules, ruleOf(jump("CNI-ADMIN")...))
		}, "chain forward ends with a foreign rule", false},
	}
	for _, l := range sets {
		all = append(all, setDamages(l.name)...)
	}
	for _, l := range chains {
		drop := func(t *hostTable) { t.drop(l.name) }
		// The rules of chainForged are lost with it, or with their target, until all bridges are looked at.
		forged := l.name == chainForged || l.name == chainDropForged
		all = append(all, damage{"chain missing: " + l.name, drop, "chain " + l.name + " is missing", forged})
		for _, d := range hookDamages(l) {
			d.losesElements = l.name == chainForged
			all = append(all, d)
		}
		if l.name == chainForged {
			all = append(all, forgedDamages()...)
			continue
		}
		all = append(all, ruleDamages(l)...)
	}
	return append(all, olderLayouts()...)
}

// drop deletes a chain or set, and the rules that refer to it.
func (t *hostTable) drop(name string) {
	for _, c := range t.chains {
		c.rules = slices.DeleteFunc(c.rules, func(r []byte) bool {
			sets, chains := references(r)
			return slices.Contains(sets, name) || slices.Contains(chains, name)
		})
	}
	t.chains = slices.DeleteFunc(t.chains, func(c *hostChain) bool { return c.name == name })
	t.sets = slices.DeleteFunc(t.sets, func(s *hostSet) bool { return s.name == name })
}

func setDamages(name string) []damage {
	change := func(kind int, value byte) func(*hostTable) {
		return func(t *hostTable) {
			s := t.set(name)
			s.attrs, s.elements = s.attrs.with(attributes{kind: {0, 0, 0, value}}), map[string]attributes{}
		}
	}
	want := "set " + name + incompatibleSet
	return []damage{
		{"set missing: " + name, func(t *hostTable) { t.drop(name) }, "set " + name + " is missing", true},
		{"set of another type: " + name, change(unix.NFTA_SET_KEY_TYPE, 9), want, true},
		{"set of another length: " + name, change(unix.NFTA_SET_KEY_LEN, 12), want, true},
		{"set of intervals: " + name, change(unix.NFTA_SET_FLAGS, unix.NFT_SET_INTERVAL), want, true},
	}
}

func hookDamages(l chainLayout) []damage {
	var all []damage
	for name, hook := range map[string]attributes{
		"another hook": baseChain(1, 0, nfAccept), "another priority": baseChain(nfForward, 5, nfAccept),
		"policy drop": baseChain(nfForward, 0, nfDrop), "policy drop at -10": baseChain(nfForward, -10, nfDrop),
	} {
		all = append(all, damage{"chain of " + name + ": " + l.name, func(t *hostTable) {
			c := t.chain(l.name)
			c.attrs = c.attrs.with(hook)
		}, "chain " + l.name + incompatibleChain, false})
	}
	if l.base != nil {
		all = append(all, damage{"chain on no hook: " + l.name, func(t *hostTable) {
			c := t.chain(l.name)
			c.attrs = maps.Clone(c.attrs)
			delete(c.attrs, unix.NFTA_CHAIN_HOOK)
		}, "chain " + l.name + incompatibleChain, false})
	}
	return all
}

func ruleDamages(l chainLayout) []damage {
	var texts []string
	if l.name == chainForward {
		texts = append(texts, "jump CNI-ADMIN")
	}
	for _, r := range l.rules {
		texts = append(texts, r.text)
	}
	insert := func(at int, rules ...[]byte) func(*hostTable) {
		return func(t *hostTable) { t.chain(l.name).rules = slices.Insert(t.chain(l.name).rules, at, rules...) }
	}
	differs := fmt.Sprintf("chain %s: rule 1 is missing or differs: %s", l.name, texts[0])
	atEnd := fmt.Sprintf("chain %s ends with a foreign rule", l.name)
	all := []damage{
		{"accept in front: " + l.name, insert(0, acceptRule), differs, false},
		{"counter in front: " + l.name, insert(0, counterRule), differs, false},
		{"return at the end: " + l.name, insert(len(texts), returnRule), atEnd, false},
		{"counter at the end: " + l.name, insert(len(texts), counterRule), atEnd, false},
	}
	all = append(all, damage{"limited: " + l.name, func(t *hostTable) {
		rules := t.chain(l.name).rules
		rules[0] = ruleOf(append([]expr.Any{&expr.Limit{Rate: 1}}, mustExprs(rules[0])...)...)
	}, differs, false})
	for i, text := range texts {
		missing := "is missing or differs"
		if i == len(texts)-1 {
			missing = "is missing"
		}
		all = append(all, damage{fmt.Sprintf("rule %d missing: %s", i+1, l.name), func(t *hostTable) {
			t.chain(l.name).rules = slices.Delete(t.chain(l.name).rules, i, i+1)
		}, fmt.Sprintf("chain %s: rule %d %s: %s", l.name, i+1, missing, text), false})
	}
	return all
}

// forgedDamages are those of the chain whose rules come and go with bridges.
func forgedDamages() []damage {
	first := "chain " + chainForged + ": rule 1 is missing or differs: " + forgedRule(interfaceKey("br1")).text
	atEnd := "chain " + chainForged + " ends with a foreign rule"
	rules := func(change func(rules [][]byte) [][]byte) func(*hostTable) {
		return func(t *hostTable) { t.chain(chainForged).rules = change(t.chain(chainForged).rules) }
	}
	return []damage{
		{"accept in front: forged", rules(func(r [][]byte) [][]byte { return slices.Insert(r, 0, acceptRule) }), first, false},
		{"return at the end: forged", rules(func(r [][]byte) [][]byte { return append(r, returnRule) }), atEnd, false},
		{"a rule missing: forged", rules(func(r [][]byte) [][]byte {
			return slices.DeleteFunc(r, func(r []byte) bool { key, _ := forgedKey(mustExprs(r)); return key == interfaceKey("br1") })
		}), "chain " + chainForged + ` lacks "br1"`, false},
	}
}

// olderLayouts returns objects of a layout that this version no longer has.
func olderLayouts() []damage {
	chainMark := attributes{chainUserdata: userdata.AppendString(nil, tableComment, mark+": older layout")}
	setMark := attributes{
		unix.NFTA_SET_USERDATA: userdata.AppendString(nil, userdata.NFTNL_UDATA_SET_COMMENT, mark+": older layout"),
	}
	return []damage{
		{"chain of an older layout", func(t *hostTable) {
			old := t.newChain("older", baseChain(nfForward, -5, nfAccept).with(chainMark))
			old.rules = [][]byte{ruleOf(jump(chainStage2)...)}
		}, "chain older" + incompatibleChain, false},
		{"set of an older layout", func(t *hostTable) {
			s := *t.set(setIPv4)
			s.name, s.attrs = "older", s.attrs.with(setMark).with(attributes{unix.NFTA_SET_NAME: []byte("older\x00")})
			t.sets = append(t.sets, &s)
			t.chain(chainStage2).rules = [][]byte{ruleOf(lookup("older")...)}
		}, "set older" + incompatibleSet, false},
	}
}

// TestDamage expects a check to name each damage, an ADD to repair it, and the
// elements of other containers to stay.
func TestDamage(t *testing.T) {
	t.Parallel()
	other := policy.Desired(container("br9", policy.Isolated, policy.Allow, "10.9.0.2", "fd09::2"))
	for _, d := range damages() {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			k := holding(t, sample())
			apply(t, k, other)
			k.otherProgram(func(h *host) {
				h.table().chain("CNI-ADMIN").rules = [][]byte{counterRule}
				d.do(h.table())
			})
			wantDifference(t, k, sample(), d.want)
			apply(t, k, sample())
			if err := check(t, k, sample()); err != nil {
				t.Errorf("not repaired: %v in\n%s", err, k.host.String())
			}
			if err := check(t, k, other); !d.losesElements && err != nil {
				t.Errorf("other container: %v", err)
			}
			if strings.Contains(k.host.String(), "older") {
				t.Errorf("the older layout is left in\n%s", k.host.String())
			}
		})
	}
}

// TestDormant repairs a table that is dormant and lacks a chain. The kernel takes
// no base chain in the transaction that wakes the table, so there are two.
func TestDormant(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	whole := k.host.String()
	k.otherProgram(func(h *host) {
		damages()[0].do(h.table())
		h.table().drop(chainForward)
		clear(h.table().set(setIsolated).elements)
	})
	k.commits = nil
	apply(t, k, sample())
	if len(k.commits) != 2 || len(k.commits[0]) != 1 {
		t.Errorf("got %d transactions, the first of %d changes", len(k.commits), len(k.commits[0]))
	}
	k.wantHost(t, whole)
}
