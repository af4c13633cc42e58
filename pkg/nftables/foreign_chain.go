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
// base chain that ends with a drop of everything is a ForwardBlocker in Forwarding. A
// chain that drops some packets is a ForwardDropper in Possible. firewalld's table is
// left out: that it drops what no zone trusts is known.
//
// Unlike Obstacles, it pays for each rule of other programs: 5,000 rules take 50 ms, and
// their chains alone 0.1 ms (Linux 6.18). So no call of a runtime asks.
func (s *Snapshot) ForeignDrops() (policy.Obstacles, error) {
	var forwarding, possible []error
	if s.state == nil {
		return policy.Obstacles{}, nil
	}
	for _, t := range tablesOf(s.foreignBases) {
		if err := s.conn.readForeign(t); err != nil {
			return policy.Obstacles{}, queryError(err)
		}
		for _, b := range t.blockers() {
			forwarding = append(forwarding, b)
		}
		for _, d := range t.droppers() {
			possible = append(possible, d)
		}
	}
	return policy.Obstacles{Forwarding: errors.Join(forwarding...), Possible: errors.Join(possible...)}, nil
}

// foreignTable is a table of another program with base chains on the hook forward.
type foreignTable struct {
	family byte
	name   string
	bases  []foreignBase
	chains map[string][]foreignRule // in the order of the kernel
	maps   map[string][]*expr.Verdict
}

// foreignBase is a base chain of another program on the hook forward.
type foreignBase struct {
	family      byte
	table, name string
	policyDrops bool
}

// firewalldTable is the name of the table that firewalld keeps.
const firewalldTable = "firewalld"

// tablesOf groups base chains by their tables.
func tablesOf(bases []foreignBase) []*foreignTable {
	var tables []*foreignTable
	for _, b := range bases {
		if b.table == firewalldTable {
			continue
		}
		i := slices.IndexFunc(tables, func(t *foreignTable) bool { return t.family == b.family && t.name == b.table })
		if i < 0 {
			i = len(tables)
			tables = append(tables, &foreignTable{family: b.family, name: b.table})
		}
		tables[i].bases = append(tables[i].bases, b)
	}
	return tables
}

// blockers returns the base chains that drop by a rule what they do not accept.
func (t *foreignTable) blockers() []*ForwardBlocker {
	var found []*ForwardBlocker
	for _, b := range t.bases {
		if !b.policyDrops && t.end(b.name) == expr.VerdictDrop {
			found = append(found, &ForwardBlocker{Family: families[t.family], Table: t.name, Chain: b.name, ByRule: true})
		}
	}
	return found
}

// end returns the verdict on packets that meet no condition of a chain: that of the
// first rule without one. A chain that returns them, or comes to its end, has the
// verdict continue. The kernel refuses chains that jump in circles.
func (t *foreignTable) end(chain string) expr.VerdictKind {
	for _, r := range t.chains[chain] {
		v, always := r.always()
		if !always {
			continue
		}
		verdict := v.Kind
		if v.Chain != "" {
			verdict = t.end(v.Chain)
		}
		switch {
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
