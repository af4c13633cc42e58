// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// legacyRules are the rules of a filter table of iptables-legacy, as the kernel has them:
// one entry behind the other. A chain is called by the offset of its first entry.
type legacyRules struct {
	legacyTable
	entries             []byte
	forwardAt, policyAt int // the first entry of FORWARD, and that of its policy
}

// legacyForward is the chain that forwarded packets meet first.
const legacyForward = "FORWARD"

// Bits of the flags in struct ipt_ip and ip6t_ip6 that invert a condition.
const (
	invertedIn     = 0x01
	invertedSource = 0x08
)

// legacyVerdicts are those of a standard target. Other numbers are the offset of an entry
// to go on with.
var legacyVerdicts = map[uint32]expr.VerdictKind{
	verdictDrop: expr.VerdictDrop,
	^uint32(1):  expr.VerdictAccept,
	^uint32(3):  expr.VerdictQueue,
	^uint32(4):  expr.VerdictReturn,
}

// rulesOf returns the rules of a chain, up to the first verdict on all packets.
func (r *legacyRules) rulesOf(chain string) ([]foreignRule, error) {
	at := r.forwardAt
	if chain != legacyForward {
		at, _ = strconv.Atoi(chain)
	}
	var rules []foreignRule
	for {
		rule, next, err := r.parse(at)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
		if v, always := rule.always(); always && v.Chain == "" {
			return rules, nil
		}
		at = next
	}
}

// parse parses the entry at an offset, and returns the offset of the next one.
func (r *legacyRules) parse(at int) (rule foreignRule, next int, err error) {
	if at < 0 || at+r.matchesOffset > len(r.entries) {
		return rule, 0, errMalformed
	}
	e := r.entries[at:]
	target := int(binary.NativeEndian.Uint16(e[r.targetOffset:]))
	size := int(binary.NativeEndian.Uint16(e[r.targetOffset+2:]))
	if target < r.matchesOffset || target+verdictAt > size || size > len(e) {
		return rule, 0, errMalformed
	}
	r.parseConditions(&rule, e)
	rule.hasOther = rule.hasOther || !onlyComments(e[r.matchesOffset:target])
	rule.unconditional = len(rule.from) == 0 && !rule.hasOther
	isGoto := e[r.flagsOffset]&r.isGoto != 0
	return rule, at + size, rule.parseLegacyTarget(e[target:size], at+size, isGoto)
}

// parseConditions parses what a rule wants of addresses and interfaces. The header has
// source and destination, their masks, the names in and out, their masks, the protocol,
// and flags.
func (l legacyTable) parseConditions(rule *foreignRule, e []byte) {
	n := l.addressSize
	source, sourceMask := e[:n], e[2*n:3*n]
	names := e[4*n : 4*n+4*unix.IFNAMSIZ]
	in, inMask := names[:unix.IFNAMSIZ], names[2*unix.IFNAMSIZ:3*unix.IFNAMSIZ]
	rest := [][]byte{
		e[3*n : 4*n], names[3*unix.IFNAMSIZ:], e[l.protocolAt() : l.protocolAt()+2], {e[l.flagsOffset] &^ l.isGoto},
	}
	inverted := e[l.flagsOffset+1]
	rule.hasOther = inverted != 0 || slices.ContainsFunc(rest, isSet)
	if isSet(sourceMask) && inverted&invertedSource == 0 {
		rule.from = append(rule.from, condition{address: true, is6: n > 4, mask: sourceMask, value: source})
	}
	if isSet(inMask) && inverted&invertedIn == 0 {
		length := len(bytes.TrimRight(inMask, "\x00")) // with the zero behind a whole name
		rule.from = append(rule.from, condition{value: in[:length]})
	}
}

func (l legacyTable) protocolAt() int { return 4*l.addressSize + 4*unix.IFNAMSIZ }

func isSet(field []byte) bool {
	return slices.ContainsFunc(field, func(b byte) bool { return b != 0 })
}

// onlyComments reports whether a rule has no match but comments. Size and name come first
// in each.
func onlyComments(matches []byte) bool {
	for len(matches) > 0 {
		size := 0
		if len(matches) >= verdictAt {
			size = int(binary.NativeEndian.Uint16(matches))
		}
		if size < verdictAt || size > len(matches) || nameIn(matches) != "comment" {
			return false
		}
		matches = matches[size:]
	}
	return true
}

// nameIn returns the name of a match or a target.
func nameIn(part []byte) string {
	name, _, _ := bytes.Cut(part[2:verdictAt-1], []byte{0})
	return string(name)
}

// parseLegacyTarget parses a target. The standard one has no name; one that leads to the
// next entry has no effect.
func (r *foreignRule) parseLegacyTarget(target []byte, next int, isGoto bool) error {
	name := nameIn(target)
	if name != "" {
		return r.parseTarget([]byte(name))
	}
	if len(target) < verdictAt+4 {
		return errMalformed
	}
	number := binary.NativeEndian.Uint32(target[verdictAt:])
	kind, isVerdict := legacyVerdicts[number]
	switch {
	case isVerdict:
		r.add(&expr.Verdict{Kind: kind})
	case int(number) == next:
	case isGoto:
		r.add(&expr.Verdict{Kind: expr.VerdictGoto, Chain: strconv.Itoa(int(number))})
	default:
		r.add(&expr.Verdict{Kind: expr.VerdictJump, Chain: strconv.Itoa(int(number))})
	}
	return nil
}
