// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// ForwardDropper is a chain of another table with rules that drop some forwarded
// packets. Whether these are a container's only their conditions tell.
type ForwardDropper struct{ Family, Table, Chain string }

// Error names the chain.
func (d *ForwardDropper) Error() string {
	return fmt.Sprintf("chain %s of table %s %s has rules that may drop forwarded packets", d.Chain, d.Family, d.Table)
}

// ForeignDrops reads the rules of other tables whose chains see forwarded packets. A
// base chain that drops by a rule what comes from containers is a ForwardBlocker in
// Forwarding, as it is of Obstacles. A chain that drops some packets is a ForwardDropper
// in Possible; those of firewalld's table are left out: it has dozens. Each
// Flowtable is in Possible, too.
//
// It pays for each rule of other programs: 5,000 rules take 50 ms (Linux 6.18). So no
// call of a runtime asks.
func (s *Snapshot) ForeignDrops() (policy.Obstacles, error) {
	var forwarding, possible []error
	if s.state == nil {
		return policy.Obstacles{}, nil
	}
	flowtables, err := s.conn.flowtables()
	if err != nil {
		return policy.Obstacles{}, queryError(err)
	}
	for _, f := range flowtables {
		possible = append(possible, f)
	}
	for _, t := range s.foreignTables() {
		if err := s.conn.readForeign(t); err != nil {
			return policy.Obstacles{}, queryError(err)
		}
		for _, b := range t.blockers(s.origins) {
			forwarding = append(forwarding, b)
		}
		for _, d := range t.droppers() {
			possible = append(possible, d)
		}
		forwarding = append(forwarding, t.err)
	}
	return policy.Obstacles{Forwarding: errors.Join(forwarding...), Possible: errors.Join(possible...)}, nil
}

// maxRulesRead is how many rules a chain of another program may have that a call of a
// runtime reads. It reads only base chains of the hook, and those that all packets of a
// container go on to: with 20 rules, 0.1 ms (Linux 6.18).
const maxRulesRead = 64

// byRule returns the base chains of other tables that drop by a rule what comes from the
// containers of the rule set that was applied or checked.
func (s *Snapshot) byRule() ([]*ForwardBlocker, error) {
	var found []*ForwardBlocker
	var errs []error
	for _, t := range s.foreignTables() {
		blockers := t.blockers(s.origins)
		if t.err == nil && !t.unread {
			found = append(found, blockers...)
		}
		errs = append(errs, queryError(t.err))
	}
	return found, errors.Join(errs...)
}

// foreignTable is a table of another program with base chains on the hook forward.
type foreignTable struct {
	family byte
	name   string
	bases  []foreignBase
	uses   map[string]uint32 // by chain: the number of rules, and of those that jump to it

	variant string       // of iptables; see newForwardBlocker
	legacy  *legacyRules // nil for a table that nf_tables shows

	conn   *conn
	chains map[string][]foreignRule // in the order of the kernel; those that were read
	whole  bool                     // all were
	maps   map[string][]*expr.Verdict
	names  map[string]map[string]bool // in sets of interfaces that were read
	unread bool                       // a chain has too many rules
	err    error
}

// foreignBase is a base chain of another program on the hook forward.
type foreignBase struct {
	family      byte
	table, name string
	policyDrops bool
}

// foreignID names a table of another program.
type foreignID struct {
	family byte
	table  string
}

// firewalldTable is the name of the table that firewalld keeps.
const firewalldTable = "firewalld"

// foreignTables groups base chains by their tables.
func (s *Snapshot) foreignTables() []*foreignTable {
	var tables []*foreignTable
	for _, b := range s.foreignBases {
		i := slices.IndexFunc(tables, func(t *foreignTable) bool { return t.family == b.family && t.name == b.table })
		if i < 0 {
			i = len(tables)
			tables = append(tables, &foreignTable{
				family: b.family, name: b.table, uses: s.foreignUses[foreignID{b.family, b.table}],
				conn: s.conn, chains: map[string][]foreignRule{}, names: map[string]map[string]bool{},
			})
		}
		tables[i].bases = append(tables[i].bases, b)
	}
	return tables
}

// blockers returns, for each network, the base chains that drop by a rule what comes from
// an origin of it.
func (t *foreignTable) blockers(origins []origin) []*ForwardBlocker {
	var found []*ForwardBlocker
	for _, b := range t.bases {
		for _, o := range origins {
			isKnown := func(f *ForwardBlocker) bool { return f.Chain == b.name && f.Interface == o.name() }
			if b.policyDrops || !o.isSeenBy(t.family) || slices.ContainsFunc(found, isKnown) ||
				t.end(b.name, o) != expr.VerdictDrop {
				continue
			}
			blocker := newForwardBlocker(families[t.family], t.name, b.name, t.variant)
			blocker.ByRule, blocker.Interface = true, o.name()
			found = append(found, blocker)
		}
	}
	return found
}

// end returns the verdict of a chain on new connections from an origin. Of the rules with
// conditions, it knows those that name the interface or the addresses of the origin, and
// takes no other for an accept. A chain that returns the packets, or comes to its end, has
// the verdict continue. The kernel refuses chains that jump in circles.
func (t *foreignTable) end(chain string, o origin) expr.VerdictKind {
	for _, r := range t.rulesOf(chain) {
		v, certain := r.always()
		if v == nil && t.isFrom(o, r) && len(r.verdicts) > 0 {
			v, certain = r.verdicts[0], !r.hasOther
		}
		if v == nil {
			continue
		}
		verdict := v.Kind
		if v.Chain != "" {
			verdict = t.end(v.Chain, o)
		}
		switch {
		case !certain && verdict != expr.VerdictAccept:
		case v.Kind == expr.VerdictReturn:
			return expr.VerdictContinue
		case v.Kind == expr.VerdictGoto, verdict != expr.VerdictContinue:
			return verdict
		}
	}
	return expr.VerdictContinue
}

// droppers returns the chains with rules that drop some packets, those of the base
// chains and those that they lead to. The isolation of the plugin and of upstream's,
// in the tables of iptables-nft, is none of another program.
func (t *foreignTable) droppers() []*ForwardDropper {
	var found []*ForwardDropper
	if t.name == firewalldTable {
		return nil
	}
	for _, v := range t.reached() {
		drops := slices.ContainsFunc(t.chains[v.chain], func(r foreignRule) bool {
			return (!r.unconditional || v.conditional) && slices.ContainsFunc(t.verdicts(r), drops)
		})
		if drops && !slices.Contains(policy.PluginChains, v.chain) {
			found = append(found, &ForwardDropper{families[t.family], t.name, v.chain})
		}
	}
	slices.SortFunc(found, func(a, b *ForwardDropper) int { return cmp.Compare(a.Chain, b.Chain) })
	return slices.CompactFunc(found, func(a, b *ForwardDropper) bool { return *a == *b })
}

// drops reports whether a verdict is a drop, or leaves the packet to a program that may
// drop it.
func drops(v *expr.Verdict) bool { return v.Kind == expr.VerdictDrop || v.Kind == expr.VerdictQueue }

// visit is a chain, and whether only some packets get there.
type visit struct {
	chain       string
	conditional bool
}

// reached returns the base chains and those that their rules lead to.
func (t *foreignTable) reached() []visit {
	var all []visit
	for _, b := range t.bases {
		all = append(all, visit{b.name, false})
	}
	for n := 0; n < len(all); n++ {
		for _, r := range t.chains[all[n].chain] {
			for _, v := range t.verdicts(r) {
				next := visit{v.Chain, all[n].conditional || !r.unconditional}
				if v.Chain != "" && !slices.Contains(all, next) {
					all = append(all, next)
				}
			}
		}
	}
	return all
}

// verdicts returns the verdicts of a rule and of its maps.
func (t *foreignTable) verdicts(r foreignRule) []*expr.Verdict {
	all := slices.Clone(r.verdicts)
	for _, name := range r.maps {
		all = append(all, t.maps[name]...)
	}
	return all
}
