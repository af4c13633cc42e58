// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// foreignRule is what a rule of another program does with packets.
type foreignRule struct {
	unconditional bool // it has no match
	verdicts      []*expr.Verdict
	maps          []string // which have verdicts: the rule has a match by them

	from     []condition // all of which a packet must meet
	hasOther bool        // it has other conditions, too
	loaded   *condition  // which the next expression ends
}

// always returns the verdict on every packet that comes to the rule, if there is one.
func (r foreignRule) always() (v *expr.Verdict, is bool) {
	if !r.unconditional || len(r.verdicts) == 0 {
		return nil, false
	}
	return r.verdicts[0], true
}

// readForeign reads the rules of a table, and the maps with verdicts that they use.
func (c *conn) readForeign(t *foreignTable) error {
	err := c.dump(t.parseRule, dumpRules(t.family, t.name, ""), func() { t.chains = map[string][]foreignRule{} })
	t.whole = true
	t.maps = map[string][]*expr.Verdict{}
	for _, rules := range t.chains {
		for _, r := range rules {
			for _, name := range r.maps {
				if _, known := t.maps[name]; err == nil && !known {
					err = c.readForeignMap(t, name)
				}
			}
		}
	}
	return err
}

// dumpRules asks for the rules of one chain of any table, or of all for no name.
func dumpRules(family byte, table, chain string) request {
	attrs := attrString(unix.NFTA_RULE_TABLE, table)
	if chain != "" {
		attrs = append(attrs, attrString(unix.NFTA_RULE_CHAIN, chain)...)
	}
	return request{kind: unix.NFT_MSG_GETRULE, flags: unix.NLM_F_DUMP, family: family, attrs: attrs}
}

// rulesOf returns the rules of a chain. It reads them where they were not, unless they
// are many.
func (t *foreignTable) rulesOf(chain string) []foreignRule {
	if rules, read := t.chains[chain]; read || t.whole {
		return rules
	}
	if t.legacy != nil {
		rules, err := t.legacy.rulesOf(chain)
		t.chains[chain] = rules
		t.note(err)
		return rules
	}
	if t.uses[chain] > maxRulesRead {
		t.unread = true
		return nil
	}
	t.note(t.conn.dump(t.parseRule, dumpRules(t.family, t.name, chain), func() { t.chains[chain] = nil }))
	return t.chains[chain]
}

// keys returns the names in a set of interfaces. It is read once for all containers.
func (t *foreignTable) keys(set string) map[string]bool {
	if names, read := t.names[set]; read {
		return names
	}
	names := map[string]bool{}
	t.names[set] = names
	parse := func(r reply) error {
		return eachElement(r.attrs, func(attrs []byte) error {
			return eachAttrOf(attrs, unix.NFTA_SET_ELEM_KEY, func(data []byte) error {
				return eachAttrOf(data, unix.NFTA_DATA_VALUE, func(key []byte) error {
					names[parseString(key)] = true
					return nil
				})
			})
		})
	}
	t.note(t.conn.dump(parse, dumpElements(t.family, t.name, set), func() { clear(names) }))
	return names
}

// note keeps an error: what was read is not enough to tell.
func (t *foreignTable) note(err error) { t.err = errors.Join(t.err, err) }

func (c *conn) readForeignMap(t *foreignTable, name string) error {
	parse := func(r reply) error { return t.parseElements(name, r) }
	return c.dump(parse, dumpElements(t.family, t.name, name), func() { t.maps[name] = nil })
}

// parseElements appends the verdicts of elements to their map.
func (t *foreignTable) parseElements(name string, r reply) error {
	return eachElement(r.attrs, func(attrs []byte) error {
		return eachAttrOf(attrs, unix.NFTA_SET_ELEM_DATA, func(data []byte) error {
			return eachVerdict(data, func(v *expr.Verdict) { t.maps[name] = append(t.maps[name], v) })
		})
	})
}

// parseRule appends a rule to its chain.
func (t *foreignTable) parseRule(r reply) error {
	var chain string
	rule := foreignRule{unconditional: true}
	err := eachAttr(r.attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_RULE_CHAIN:
			chain = parseString(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			return eachAttr(value, func(_ int, attrs []byte) error {
				name, data, err := splitExpr(attrs)
				return errors.Join(err, rule.parse(name, data))
			})
		}
		return nil
	})
	t.chains[chain] = append(t.chains[chain], rule)
	return err
}

// parse adds an expression to the rule. One that is not known counts as a match.
func (r *foreignRule) parse(name string, data []byte) error {
	switch name {
	case "immediate":
		return eachAttrOf(data, unix.NFTA_IMMEDIATE_DATA, func(value []byte) error {
			return eachVerdict(value, r.add)
		})
	case "reject":
		r.add(&expr.Verdict{Kind: expr.VerdictDrop})
	case "queue":
		r.add(&expr.Verdict{Kind: expr.VerdictQueue})
	case "target":
		return eachAttrOf(data, unix.NFTA_TARGET_NAME, r.parseTarget)
	case "match":
		return eachAttrOf(data, unix.NFTA_MATCH_NAME, r.parseMatch)
	case "lookup":
		return r.parseLookup(data)
	case "counter", "log", "last", "notrack", "objref":
	case "meta", "payload", "bitwise", "cmp":
		r.unconditional = false
		return r.parseCondition(name, data)
	default:
		r.unconditional, r.hasOther, r.loaded = false, true, nil
	}
	return nil
}

// parseCondition parses an expression of a condition.
func (r *foreignRule) parseCondition(name string, data []byte) error {
	e := newExpr(name)
	err := expr.Unmarshal(unix.NFPROTO_INET, data, e)
	switch e := e.(type) {
	case *expr.Meta:
		r.loadMeta(e)
	case *expr.Payload:
		r.loadPayload(e)
	case *expr.Bitwise:
		if r.loaded != nil {
			r.loaded.mask = e.Mask
		}
	case *expr.Cmp:
		r.compare(e.Op == expr.CmpOpEq, e.Data, "")
	}
	return err
}

func (r *foreignRule) add(v *expr.Verdict) { r.verdicts = append(r.verdicts, v) }

// parseTarget parses the name of a target of iptables. Most change a packet, and let it
// go on.
func (r *foreignRule) parseTarget(name []byte) error {
	switch parseString(name) {
	case "REJECT":
		r.add(&expr.Verdict{Kind: expr.VerdictDrop})
	case "NFQUEUE":
		r.add(&expr.Verdict{Kind: expr.VerdictQueue})
	}
	return nil
}

// parseMatch parses the name of a match of iptables. A comment matches everything.
func (r *foreignRule) parseMatch(name []byte) error {
	isComment := parseString(name) == "comment"
	r.unconditional, r.hasOther = r.unconditional && isComment, r.hasOther || !isComment
	return nil
}

// parseLookup parses a lookup in a set, or in a map: that one of verdicts loads into the
// register of the verdict.
func (r *foreignRule) parseLookup(data []byte) error {
	var set string
	isMap, isInverted := false, false
	err := eachAttr(data, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_LOOKUP_SET:
			set = parseString(value)
		case unix.NFTA_LOOKUP_DREG:
			isMap = parseUint32(value) == unix.NFT_REG_VERDICT
		case unix.NFTA_LOOKUP_FLAGS:
			isInverted = parseUint32(value)&unix.NFT_LOOKUP_F_INV != 0
		}
		return nil
	})
	r.unconditional = false
	r.compare(!isMap && !isInverted, nil, set)
	if isMap {
		r.maps = append(r.maps, set)
	}
	return err
}
