// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"maps"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The rules of chainForged are read only by a call that needs them: beside 1,000
// bridges, that takes 2 ms. An ADD does not, as long as there are as many of them as
// isolated bridges: each call adds and deletes both in one transaction, so that another
// program's change shows in their numbers. CHECK, restore and removals read them.

// forgedCount returns the number of rules in chainForged. Besides, one rule jumps to it.
func (t *table) forgedCount() int {
	if c := t.chains[chainForged]; c != nil {
		return max(0, int(c.use)-1)
	}
	return 0
}

// readRules reads the rules of a table, those of chainForged only if they are few.
func (c *conn) readRules(t *table) error {
	t.forgedUnread = t.forgedCount() > many
	if !t.forgedUnread {
		return c.query(t.parseRule, dumpRules(t.family, tableName, ""))
	}
	for name := range t.chains {
		if name == chainForged {
			continue
		}
		if err := c.query(t.parseRule, dumpRules(t.family, tableName, name)); err != nil {
			return err
		}
	}
	return nil
}

// listForged reads the rules of chainForged.
func (c *conn) listForged(t *table) error {
	chain := t.chains[chainForged]
	if chain == nil || !t.forgedUnread {
		t.forgedUnread = false
		return nil
	}
	err := c.dump(t.parseRule, dumpRules(t.family, tableName, chainForged), func() { chain.rules, chain.handles = nil, nil })
	t.forgedUnread = err != nil
	return err
}

// matchForged compares the numbers of isolated bridges and of rules in chainForged. If
// they differ, it reads these.
func (c *conn) matchForged(t *table) error {
	if !t.forgedUnread {
		return nil
	}
	if err := c.listSet(t, setIsolated); err != nil {
		return err
	}
	t.forgedMatch = t.forgedCount() == t.sets[setIsolated].count()
	if t.forgedMatch {
		return nil
	}
	return c.listForged(t)
}

// needsForged reports whether the rules of chainForged must be read to tell of elements
// whether they are there, or to change them.
func (t *table) needsForged(elements []element) bool {
	return t.forgedUnread && (len(t.incompatible) > 0 || slices.ContainsFunc(elements, func(e element) bool {
		return e.isForged() && (!t.forgedMatch || !e.present && t.has(e))
	}))
}

// forged returns the handles of the rules in chainForged, by their key.
func (t *table) forged() map[string][]uint64 {
	if t.forgedHandles != nil {
		return t.forgedHandles
	}
	t.forgedHandles = map[string][]uint64{}
	if c := t.chains[chainForged]; c != nil {
		for i, exprs := range c.rules {
			if key, is := forgedKey(exprs); is {
				t.forgedHandles[key] = append(t.forgedHandles[key], c.handles[i])
			}
		}
	}
	return t.forgedHandles
}

// forgedKey returns the key of a rule of chainForged.
func forgedKey(exprs []expr.Any) (key string, is bool) {
	for _, e := range exprs {
		if compared, is := e.(*expr.Cmp); is {
			key = string(compared.Data) + key // the interface of the route comes last
		}
	}
	if len(key) != unix.IFNAMSIZ && len(key) != 2*unix.IFNAMSIZ {
		return "", false
	}
	return key, forgedRule(key).equals(exprs) || formerForgedRule(key).equals(exprs)
}

// formerForgedRule is forgedRule as it was before drops were counted.
func formerForgedRule(key string) rule {
	return routedBy(key, newRule("drop", verdict(expr.VerdictDrop)))
}

func isFormer(exprs []expr.Any) bool {
	key, is := forgedKey(exprs)
	return is && formerForgedRule(key).equals(exprs)
}

// forgedRules returns the rules that chainForged has, each once, without those that must
// be absent.
func (t *table) forgedRules(elements []element) []rule {
	var rules []rule
	for _, key := range slices.Sorted(maps.Keys(t.forged())) {
		absent := slices.ContainsFunc(elements, func(e element) bool { return e.isForged() && e.key == key && !e.present })
		if !absent {
			rules = append(rules, forgedRule(key))
		}
	}
	return rules
}

// flushesForged reports whether chainForged is missing, or has a rule that does not
// belong there.
func (t *table) flushesForged() bool {
	c := t.chains[chainForged]
	return c == nil || len(t.incompatible) > 0 || len(t.forged()) < len(c.rules) || slices.ContainsFunc(c.rules, isFormer)
}
