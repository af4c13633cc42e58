// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// parseRule appends a rule to its chain: the kernel lists the rules of a chain in
// their order.
func (t *table) parseRule(r reply) error {
	var chain string
	var handle uint64
	var exprs []expr.Any
	err := eachAttr(r.attrs, func(kind int, value []byte) (err error) {
		switch kind {
		case unix.NFTA_RULE_CHAIN:
			chain = parseString(value)
		case unix.NFTA_RULE_HANDLE:
			handle = parseUint64(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			exprs, err = parseExprs(value)
		}
		return err
	})
	if c := t.chains[chain]; c != nil {
		c.rules, c.handles = append(c.rules, exprs), append(c.handles, handle)
	}
	return err
}

// parseExprs parses the expressions of a rule. It returns nil if the plugin never
// writes one of them.
func parseExprs(list []byte) ([]expr.Any, error) {
	var exprs []expr.Any
	foreign := false
	err := eachAttr(list, func(_ int, attrs []byte) error {
		e, err := parseExpr(attrs)
		foreign = foreign || e == nil
		exprs = append(exprs, e)
		return err
	})
	if foreign || err != nil {
		return nil, err
	}
	return exprs, nil
}

// parseExpr returns nil for an expression that the plugin never writes.
func parseExpr(attrs []byte) (expr.Any, error) {
	name, data, err := splitExpr(attrs)
	if err != nil {
		return nil, err
	}
	switch name {
	case "immediate":
		return parseVerdict(data)
	case "ct":
		return parseCt(data)
	case "dynset":
		return parseDynset(data)
	}
	e := newExpr(name)
	if e == nil {
		return nil, nil
	}
	return e, expr.Unmarshal(unix.NFPROTO_INET, data, e)
}

// splitExpr returns the name of an expression and its own attributes.
func splitExpr(attrs []byte) (name string, data []byte, err error) {
	err = eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_EXPR_NAME:
			name = parseString(value)
		case unix.NFTA_EXPR_DATA:
			data = value
		}
		return nil
	})
	return name, data, err
}

func newExpr(name string) expr.Any {
	switch name {
	case "meta":
		return &expr.Meta{}
	case "lookup":
		return &expr.Lookup{}
	case "cmp":
		return &expr.Cmp{}
	case "bitwise":
		return &expr.Bitwise{}
	case "payload":
		return &expr.Payload{}
	case "fib":
		return &expr.Fib{}
	}
	return nil
}

// parseCt parses what the library's own parser cannot: the direction, which is one byte.
func parseCt(data []byte) (expr.Any, error) {
	c := &expr.Ct{}
	return c, eachAttr(data, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_CT_KEY:
			c.Key = expr.CtKey(parseUint32(value))
		case unix.NFTA_CT_DREG:
			c.Register = parseUint32(value)
		case unix.NFTA_CT_SREG:
			c.Register, c.SourceRegister = parseUint32(value), true
		case unix.NFTA_CT_DIRECTION:
			if len(value) != 1 {
				return errMalformed
			}
			c.Direction = uint32(value[0])
		}
		return nil
	})
}

// parseDynset returns nil for one that does something else than count: the library's own
// parser takes the numbers of a counter for a difference.
func parseDynset(data []byte) (expr.Any, error) {
	d := &expr.Dynset{}
	foreign := false
	err := eachAttr(data, func(kind int, value []byte) (err error) {
		switch kind {
		case unix.NFTA_DYNSET_SET_NAME:
			d.SetName = parseString(value)
		case unix.NFTA_DYNSET_SREG_KEY:
			d.SrcRegKey = parseUint32(value)
		case unix.NFTA_DYNSET_OP:
			d.Operation = parseUint32(value)
		case unix.NFTA_DYNSET_EXPR:
			var name string
			name, _, err = splitExpr(value)
			d.Exprs = append(d.Exprs, &expr.Counter{})
			foreign = foreign || name != "counter"
		case unix.NFTA_DYNSET_TIMEOUT, unix.NFTA_DYNSET_FLAGS:
			foreign = foreign || !isZero(value)
		case unix.NFTA_DYNSET_SREG_DATA, expr.NFTA_DYNSET_EXPRESSIONS:
			foreign = true
		}
		return err
	})
	if foreign || err != nil {
		return nil, err
	}
	return d, nil
}

func isZero(value []byte) bool { return len(bytes.Trim(value, "\x00")) == 0 }

// parseVerdict returns nil for an immediate that loads a number. The library's
// own parser reads that as a drop, and a truncated verdict as a whole one.
func parseVerdict(data []byte) (e expr.Any, err error) {
	err = eachAttrOf(data, unix.NFTA_IMMEDIATE_DATA, func(value []byte) error {
		return eachVerdict(value, func(v *expr.Verdict) { e = v })
	})
	return e, err
}

// eachVerdict calls do with the verdict that is in data, if one is.
func eachVerdict(data []byte, do func(*expr.Verdict)) error {
	return eachAttrOf(data, unix.NFTA_DATA_VERDICT, func(attrs []byte) error {
		v := &expr.Verdict{}
		err := parseVerdictAttrs(v, attrs)
		do(v)
		return err
	})
}

func parseVerdictAttrs(v *expr.Verdict, attrs []byte) error {
	hasCode := false
	err := eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_VERDICT_CODE:
			hasCode = len(value) == 4
			v.Kind = expr.VerdictKind(int32(parseUint32(value)))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = parseString(value)
		}
		return nil
	})
	if err == nil && !hasCode {
		return errMalformed
	}
	return err
}
