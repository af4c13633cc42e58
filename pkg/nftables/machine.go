// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// machine takes one packet through a base chain, as the kernel does, as far as the packet
// is known.
type machine struct {
	rules     *Ruleset
	table     foreignID
	packet    policy.Packet
	fields    fields
	registers [firstRegisterBytes + 4*16]byte
	known     [firstRegisterBytes + 4*16]bool
	mark      loaded
	chain     string   // that the packet is in
	rule      *anyRule // that it is at
	depth     int
	uncertain int // rules on the way that may match
	decisions []policy.Decision
}

// loaded is what an expression loads. Of what is not known, data is nil.
type loaded []byte

func newMachine(r *Ruleset, table foreignID, p policy.Packet) *machine {
	return &machine{rules: r, table: table, packet: p, fields: fieldsOf(p), mark: make([]byte, 4)}
}

// run takes the packet through a chain, and reports whether a verdict has ended its way.
func (m *machine) run(chain string) (ended bool) {
	c := m.rules.chains[m.table][chain]
	m.depth++
	defer func() { m.depth-- }()
	if c == nil || m.depth > policy.MaxDepth {
		return false
	}
	for i := range c.rules {
		if ended, leaves := m.follow(chain, &c.rules[i]); ended || leaves {
			return ended
		}
	}
	return false
}

// follow takes the packet through a rule. leaves says that the rules behind it do not see
// the packet.
func (m *machine) follow(chain string, r *anyRule) (ended, leaves bool) {
	before := m.uncertain
	defer func() { m.uncertain = before }()
	m.known = [len(m.known)]bool{}
	for _, e := range r.exprs {
		m.chain, m.rule = chain, r
		verdict, matches := m.step(e)
		if matches == policy.Never {
			return false, false
		}
		if matches == policy.Maybe {
			m.uncertain++
		}
		if verdict != nil {
			ended, leaves = m.verdict(verdict)
		} else if n, is := e.(*expr.NAT); is && n.Type == expr.NATTypeDestNAT {
			m.redirect(n)
			ended = true
		}
		if ended || leaves || verdict != nil {
			isCertain := m.uncertain == before
			return ended && isCertain, leaves && isCertain
		}
	}
	return false, false
}

// verdict does what a verdict of the machine's rule says.
func (m *machine) verdict(v *expr.Verdict) (ended, leaves bool) {
	switch v.Kind {
	case expr.VerdictAccept:
		m.decide(m.chain, m.rule, policy.Accepts)
		return true, false
	case expr.VerdictDrop:
		m.decide(m.chain, m.rule, policy.Drops)
		return true, false
	case expr.VerdictQueue:
		m.decide(m.chain, m.rule, policy.MayDrop)
		return true, false
	case expr.VerdictReturn:
		return false, true
	case expr.VerdictJump:
		return m.jump(v.Chain), false
	case expr.VerdictGoto:
		return m.run(v.Chain), true
	}
	return false, false
}

// jump takes the packet through a chain that it comes back from. What is dropped where the
// plugin counts, the rule that leads there has decided.
func (m *machine) jump(chain string) (ended bool) {
	from, r, before := m.chain, m.rule, len(m.decisions)
	ended = m.run(chain)
	if m.isPlugins() && isCounting(chain) {
		for i := range m.decisions[before:] {
			d := &m.decisions[before+i]
			d.Chain, d.Handle = from, r.handle
			d.Rule, _ = m.ownText(from, r)
		}
	}
	return ended
}

// isPlugins reports whether the machine is in the plugin's own table.
func (m *machine) isPlugins() bool { return m.table == foreignID{packets.family, tableName} }

// decide notes a decision. The policy of a chain has no rule.
func (m *machine) decide(chain string, r *anyRule, o policy.Outcome) {
	d := policy.Decision{Chain: chain, Outcome: o}
	if m.uncertain > 0 {
		d.Outcome = o.Perhaps()
	}
	if r != nil {
		d.Handle = r.handle
		d.Rule, d.IsOwn = m.ownText(chain, r)
	}
	m.decisions = append(m.decisions, d)
}

// ownText returns a rule of the plugin's own as nft prints it.
func (m *machine) ownText(chain string, r *anyRule) (text string, isOwn bool) {
	l, isOwn := packets.chainLayoutOf(chain)
	if !m.isPlugins() || !isOwn {
		return "", false
	}
	for _, own := range l.rules {
		if own.isSame(r.exprs) {
			return own.text, true
		}
	}
	return "", false
}

// isSame is equals for a rule that was read as one of any program.
func (r rule) isSame(exprs []any) bool {
	known := make([]expr.Any, len(exprs))
	for i, e := range exprs {
		known[i], _ = e.(expr.Any)
	}
	return r.equals(known)
}

// redirect notes where a connection is redirected to, unless that is not certain.
func (m *machine) redirect(n *expr.NAT) {
	address, isAddress := netip.AddrFromSlice(m.load(n.RegAddrMin, m.packet.Destination.BitLen()/8))
	port := m.packet.Port
	if n.RegProtoMin != 0 {
		number := m.load(n.RegProtoMin, 2)
		if number == nil {
			return
		}
		port = binary.BigEndian.Uint16(number)
	}
	if isAddress && m.uncertain == 0 {
		m.decide(m.chain, m.rule, policy.Redirects)
		m.decisions[len(m.decisions)-1].To = netip.AddrPortFrom(address, port)
	}
}

// offsetOf returns where a register begins: one of four that have 16 bytes each, or one of
// sixteen that have four, in the same memory.
func offsetOf(register uint32) int {
	const firstSmall = 8 // NFT_REG32_00
	if register >= firstSmall {
		return int(register-firstSmall)*registerSize + firstRegisterBytes
	}
	return int(register) * firstRegisterBytes
}

// store puts what was loaded into a register. The rest of its last four bytes is zero.
func (m *machine) store(register uint32, l loaded, length int) {
	at := offsetOf(register)
	end := min(at+(length+registerSize-1)/registerSize*registerSize, len(m.registers))
	for i := at; i < end; i++ {
		m.registers[i], m.known[i] = 0, l != nil
		if i-at < len(l) {
			m.registers[i] = l[i-at]
		}
	}
}

// load returns the content of a register, or nil where it is not known.
func (m *machine) load(register uint32, length int) loaded {
	at := offsetOf(register)
	if length == 0 || at+length > len(m.registers) || slices.Contains(m.known[at:at+length], false) {
		return nil
	}
	return bytes.Clone(m.registers[at : at+length])
}
