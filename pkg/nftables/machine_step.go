// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"

	"github.com/google/nftables/expr"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// step takes the packet through an expression: it has a verdict, or a match.
func (m *machine) step(e any) (*expr.Verdict, policy.Truth) {
	switch e := e.(type) {
	case *expr.Verdict:
		return e, policy.Always
	case constant:
		m.store(e.register, e.data, len(e.data))
	case *expr.Meta:
		m.meta(e)
	case *expr.Ct:
		if m.fields.lacks(e.Key) {
			return nil, policy.Never
		}
		m.store(e.Register, m.fields.ct(e), sizeOfCt(e))
	case *expr.Payload:
		m.store(e.DestRegister, m.fields.payload(e), int(e.Len))
	case *expr.Fib:
		return nil, m.fib(e)
	case *expr.Bitwise:
		m.bitwise(e)
	case *expr.Cmp:
		return nil, m.compare(e)
	case *expr.Range:
		return nil, m.between(e)
	case *expr.Lookup:
		return m.lookUp(e)
	case noMatch, *expr.NAT:
	default:
		return nil, policy.Maybe
	}
	return nil, policy.Always
}

// meta loads, or sets the mark of the packet.
func (m *machine) meta(e *expr.Meta) {
	if e.SourceRegister {
		if e.Key == expr.MetaKeyMARK {
			m.mark = m.load(e.Register, 4)
			if m.uncertain > 0 {
				m.mark = nil
			}
		}
		return
	}
	l, length := m.fields.meta(e.Key)
	if e.Key == expr.MetaKeyMARK {
		l, length = m.mark, 4
	}
	m.store(e.Register, l, length)
}

func (m *machine) bitwise(e *expr.Bitwise) {
	l := m.load(e.SourceRegister, int(e.Len))
	if len(e.Mask) != len(l) || len(e.Xor) != len(l) {
		l = nil // it shifts, or works on two registers
	}
	for i := range l {
		l[i] = l[i]&e.Mask[i] ^ e.Xor[i]
	}
	m.store(e.DestRegister, l, int(e.Len))
}

func (m *machine) compare(e *expr.Cmp) policy.Truth {
	l := m.load(e.Register, len(e.Data))
	if l == nil {
		return policy.Maybe
	}
	order := bytes.Compare(l, e.Data)
	switch e.Op {
	case expr.CmpOpEq:
		return policy.Known(order == 0)
	case expr.CmpOpNeq:
		return policy.Known(order != 0)
	case expr.CmpOpLt:
		return policy.Known(order < 0)
	case expr.CmpOpLte:
		return policy.Known(order <= 0)
	case expr.CmpOpGt:
		return policy.Known(order > 0)
	case expr.CmpOpGte:
		return policy.Known(order >= 0)
	}
	return policy.Maybe
}

func (m *machine) between(e *expr.Range) policy.Truth {
	l := m.load(e.Register, len(e.FromData))
	if l == nil {
		return policy.Maybe
	}
	isIn := bytes.Compare(e.FromData, l) <= 0 && bytes.Compare(l, e.ToData) <= 0
	return policy.Known(isIn == (e.Op == expr.CmpOpEq))
}

// lookUp looks up a key in a set, or in a map: of verdicts, or of what it loads.
func (m *machine) lookUp(e *expr.Lookup) (*expr.Verdict, policy.Truth) {
	s := m.rules.set(m.table, e.SetName)
	if s == nil {
		return nil, policy.Maybe
	}
	if len(s.elements) == 0 {
		return nil, policy.Known(e.Invert)
	}
	key := m.load(e.SourceRegister, s.keyLength())
	if key == nil {
		return m.mayMeet(s, e)
	}
	found := s.find(key)
	switch {
	case found == nil || e.Invert:
		return nil, policy.Known((found != nil) != e.Invert)
	case e.IsDestRegSet && found.verdict != nil:
		return found.verdict, policy.Always
	case e.IsDestRegSet:
		m.store(e.DestRegister, found.data, len(found.data))
	}
	return nil, policy.Always
}

// mayMeet follows all verdicts of a map of which it is not known which one it is.
func (m *machine) mayMeet(s *elementsOf, e *expr.Lookup) (*expr.Verdict, policy.Truth) {
	chain, r := m.chain, m.rule
	m.uncertain++
	for _, element := range s.elements {
		if v := element.verdict; e.IsDestRegSet && v != nil {
			m.chain, m.rule = chain, r
			m.verdict(v)
		}
	}
	m.uncertain--
	return nil, policy.Maybe
}

// keyLength returns the length of the keys, in bytes.
func (s *elementsOf) keyLength() int {
	for _, e := range s.elements {
		if !e.isCatchAll {
			return len(e.key)
		}
	}
	return 1
}
