// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"cmp"
	"errors"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Ruleset is the rules of all tables that see IPv4 and IPv6, to follow a packet through
// them. It is for operators: it pays for every rule of the host.
type Ruleset struct {
	conn   *conn
	chains map[foreignID]map[string]*chainOf
	sets   map[setID]*elementsOf
	except func(family, table string) bool
}

// chainOf is a chain of any table.
type chainOf struct {
	chain

	isNAT bool
	rules []anyRule
}

// anyRule is a rule of any program. An expression that is not known is nil.
type anyRule struct {
	handle uint64
	exprs  []any
}

var _ policy.Tables = (*Ruleset)(nil)

// ReadRuleset reads the rules, less those of tables that another program of the caller's
// shows better. A kernel without nf_tables has none.
func (d *Driver) ReadRuleset(except func(family, table string) bool) (*Ruleset, error) {
	r := &Ruleset{except: except}
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.conn = c.conn
	return r, queryError(r.read())
}

// read reads again where another program changes tables meanwhile.
func (r *Ruleset) read() error {
	err := errInterrupted
	for n := 0; n < maxAttempts && errors.Is(err, errInterrupted); n++ {
		r.chains, r.sets = map[foreignID]map[string]*chainOf{}, map[setID]*elementsOf{}
		err = r.conn.query(r.parseChain, request{kind: unix.NFT_MSG_GETCHAIN, flags: unix.NLM_F_DUMP, anyFamily: true})
		if err == nil {
			err = r.conn.query(r.parseRule, request{kind: unix.NFT_MSG_GETRULE, flags: unix.NLM_F_DUMP, anyFamily: true})
		}
		if err == nil {
			err = r.conn.query(r.parseSet, request{kind: unix.NFT_MSG_GETSET, flags: unix.NLM_F_DUMP, anyFamily: true})
		}
	}
	return err
}

func (r *Ruleset) parseChain(m reply) error {
	c := &chainOf{}
	err := eachAttr(m.attrs, func(kind int, value []byte) error {
		if kind == unix.NFTA_CHAIN_TYPE {
			c.isNAT = parseString(value) == "nat"
		}
		return c.parseAttr(kind, value)
	})
	id := foreignID{m.family, c.table}
	if families[m.family] == "" || r.except(families[m.family], c.table) {
		return err
	}
	if r.chains[id] == nil {
		r.chains[id] = map[string]*chainOf{}
	}
	r.chains[id][c.name] = c
	return err
}

func (r *Ruleset) parseRule(m reply) error {
	var table, chain string
	var parsed anyRule
	var list []byte
	err := eachAttr(m.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_RULE_TABLE:
			table = parseString(value)
		case unix.NFTA_RULE_CHAIN:
			chain = parseString(value)
		case unix.NFTA_RULE_HANDLE:
			parsed.handle = parseUint64(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			list = value
		}
		return nil
	})
	c := r.chains[foreignID{m.family, table}][chain]
	if c == nil || err != nil {
		return err
	}
	err = eachAttr(list, func(_ int, attrs []byte) error {
		e, err := parseAnyExpr(attrs)
		parsed.exprs = append(parsed.exprs, e)
		return err
	})
	c.rules = append(c.rules, parsed)
	return err
}

// constant is an immediate that loads a number. The library reads it as a verdict.
type constant struct {
	register uint32
	data     []byte
}

// noMatch is an expression that every packet passes.
type noMatch struct{}

// parseAnyExpr returns nil for an expression that is not known.
func parseAnyExpr(attrs []byte) (any, error) {
	name, data, err := splitExpr(attrs)
	if err != nil {
		return nil, err
	}
	switch name {
	case "immediate":
		return parseImmediate(data)
	case "counter", "log", "last", "notrack", "objref", "dynset", "flow_offload":
		return noMatch{}, nil
	case "reject":
		return &expr.Verdict{Kind: expr.VerdictDrop}, nil
	case "queue":
		return &expr.Verdict{Kind: expr.VerdictQueue}, nil
	case "match":
		return parseXtables(data, unix.NFTA_MATCH_NAME, map[string]any{"comment": noMatch{}})
	case "target":
		return parseXtables(data, unix.NFTA_TARGET_NAME, map[string]any{"REJECT": &expr.Verdict{Kind: expr.VerdictDrop}})
	case "range":
		return unmarshal(data, &expr.Range{})
	case "nat":
		return unmarshal(data, &expr.NAT{})
	case "meta", "ct", "lookup", "cmp", "bitwise", "payload", "fib":
		return parseExpr(attrs)
	}
	return nil, nil
}

func unmarshal(data []byte, e expr.Any) (any, error) {
	return e, expr.Unmarshal(unix.NFPROTO_INET, data, e)
}

// parseXtables returns what stands for a match or a target of iptables, where that is known
// by its name.
func parseXtables(data []byte, nameAttr int, known map[string]any) (e any, err error) {
	err = eachAttrOf(data, nameAttr, func(name []byte) error {
		e = known[parseString(name)]
		return nil
	})
	return e, err
}

// parseImmediate returns a verdict, or a value.
func parseImmediate(data []byte) (e any, err error) {
	n := constant{}
	err = eachAttr(data, func(kind int, attrs []byte) error {
		switch kind {
		case unix.NFTA_IMMEDIATE_DREG:
			n.register = parseUint32(attrs)
		case unix.NFTA_IMMEDIATE_DATA:
			return errors.Join(
				eachVerdict(attrs, func(v *expr.Verdict) { e = v }),
				eachAttrOf(attrs, unix.NFTA_DATA_VALUE, func(b []byte) error {
					n.data = slices.Clone(b)
					return nil
				}))
		}
		return nil
	})
	if e == nil {
		e = n
	}
	return e, err
}

// bases returns the base chains that see packets of a family on a hook, in their order.
func (r *Ruleset) bases(p policy.Packet) (all []located) {
	for id, chains := range r.chains {
		if id.family != unix.NFPROTO_INET && id.family != familyOf[p.Family()] {
			continue
		}
		for _, c := range chains {
			if c.base && c.hook == hooks[p.Hook] && (!c.isNAT || !p.IsReply) {
				all = append(all, located{id, c})
			}
		}
	}
	slices.SortFunc(all, func(a, b located) int { return cmp.Compare(a.priority, b.priority) })
	return all
}

// located is a chain with its table.
type located struct {
	id foreignID
	*chainOf
}

// hooks are their numbers (NF_INET_… in linux/netfilter.h).
var hooks = map[policy.Hook]uint32{
	policy.HookPrerouting: nfPrerouting, policy.HookInput: 1, policy.HookForward: nfForward, policy.HookOutput: 3,
}

// Decide returns what the base chains of a packet's hook decide.
func (r *Ruleset) Decide(p policy.Packet) []policy.Decision {
	var all []policy.Decision
	for _, base := range r.bases(p) {
		m := newMachine(r, base.id, p)
		if !m.run(base.name) && base.policyDrops {
			m.decide(base.name, nil, policy.Drops)
		}
		for _, d := range policy.Settled(m.decisions) {
			d.Family, d.Table, d.Base, d.Priority = families[base.id.family], base.id.table, base.name, int(base.priority)
			all = append(all, d)
		}
	}
	return all
}
