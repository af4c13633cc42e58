// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"maps"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// host is what the fake kernel holds.
type host struct{ tables []*hostTable }

type hostTable struct {
	family       byte
	name         string
	attrs        attributes
	chains       []*hostChain
	sets         []*hostSet
	otherObjects int // counters, maps and the like
	flowtables   []string
}

type hostChain struct {
	name  string
	attrs attributes
	rules [][]byte // each a list of expressions; nil for a deleted one. Their places are their handles
}

type hostSet struct {
	name     string
	attrs    attributes
	elements map[string]attributes // by key
}

// clone returns a copy that a transaction may change. The attributes of an object
// are never changed in place, so they are shared.
func (h host) clone() host {
	var c host
	for _, t := range h.tables {
		u := *t
		u.chains, u.sets = nil, nil
		for _, x := range t.chains {
			u.chains = append(u.chains, &hostChain{x.name, x.attrs, slices.Clone(x.rules)})
		}
		for _, x := range t.sets {
			u.sets = append(u.sets, &hostSet{x.name, x.attrs, maps.Clone(x.elements)})
		}
		c.tables = append(c.tables, &u)
	}
	return c
}

func (h *host) find(family byte, name string) *hostTable {
	for _, t := range h.tables {
		if t.family == family && t.name == name {
			return t
		}
	}
	return nil
}

// table returns the plugin's table for packets.
func (h *host) table() *hostTable { return h.find(unix.NFPROTO_INET, tableName) }

func (t *hostTable) chain(name string) *hostChain {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (t *hostTable) set(name string) *hostSet {
	for _, s := range t.sets {
		if s.name == name {
			return s
		}
	}
	return nil
}

// refersTo reports whether a rule looks up the set or jumps to the chain. The
// kernel then refuses to delete it.
func (t *hostTable) refersTo(set, chain string) bool {
	for _, c := range t.chains {
		if slices.ContainsFunc(c.rules, func(r []byte) bool {
			sets, chains := references(r)
			return slices.Contains(sets, set) || slices.Contains(chains, chain)
		}) {
			return true
		}
	}
	return false
}

// references returns the sets and chains that a rule refers to.
func references(rule []byte) (sets, chains []string) {
	exprs, err := parseExprs(rule)
	if err != nil {
		panic(err)
	}
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Lookup:
			sets = append(sets, e.SetName)
		case *expr.Dynset:
			sets = append(sets, e.SetName)
		case *expr.Verdict:
			if e.Chain != "" {
				chains = append(chains, e.Chain)
			}
		}
	}
	return sets, chains
}

// newTable adds a table of another program.
func (h *host) newTable(family byte, name string) *hostTable {
	t := &hostTable{family: family, name: name, attrs: attributes{unix.NFTA_TABLE_NAME: []byte(name + "\x00")}}
	h.tables = append(h.tables, t)
	return t
}

// newChain adds a chain. The attributes of a hook make it a base chain.
func (t *hostTable) newChain(name string, hook attributes) *hostChain {
	named := attributes{unix.NFTA_CHAIN_TABLE: []byte(t.name + "\x00"), unix.NFTA_CHAIN_NAME: []byte(name + "\x00")}
	c := &hostChain{name: name, attrs: named.with(hook)}
	t.chains = append(t.chains, c)
	return c
}

// baseChain returns the attributes that make a chain a base chain.
func baseChain(hook uint32, priority int32, policy uint32) attributes {
	return mustParse(slices.Concat(
		attrNested(unix.NFTA_CHAIN_HOOK,
			attrUint32(unix.NFTA_HOOK_HOOKNUM, hook), attrUint32(unix.NFTA_HOOK_PRIORITY, uint32(priority))),
		attrUint32(unix.NFTA_CHAIN_POLICY, policy)))
}

// ruleOf returns a rule as the kernel has it.
func ruleOf(exprs ...expr.Any) []byte {
	r, err := rule{exprs: exprs}.create("")
	if err != nil {
		panic(err)
	}
	return mustParse(r.attrs)[unix.NFTA_RULE_EXPRESSIONS]
}

// Foreign rules: of expressions that the plugin writes too, and of one that it
// never writes.
var (
	acceptRule  = ruleOf(&expr.Verdict{Kind: expr.VerdictAccept})
	counterRule = ruleOf(&expr.Counter{})
	returnRule  = ruleOf(&expr.Verdict{Kind: expr.VerdictReturn})
)
