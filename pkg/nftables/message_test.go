// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func TestEachAttr(t *testing.T) {
	t.Parallel()
	nothing := func(int, []byte) error { return nil }
	for name, b := range map[string][]byte{
		"shorter than a header":  attrHeader(3),
		"of no length":           attrHeader(0),
		"longer than there is":   attrHeader(5),
		"much longer":            attrHeader(0xffff),
		"the second is too long": append(attrUint32(1, 1), attrHeader(8)...),
	} {
		if err := eachAttr(b, nothing); !errors.Is(err, errMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"less than a head": {4, 0, 1},
		"an empty one":     attrHeader(4),
		"one without pads": attrString(1, "ab")[:7],
	} {
		if err := eachAttr(b, nothing); err != nil {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	own := errors.New("own")
	if err := eachAttr(attrUint32(1, 1), func(int, []byte) error { return own }); !errors.Is(err, own) {
		t.Errorf("got error %v", err)
	}
}

// attrHeader returns an attribute that ends after its header, whatever length that
// states.
func attrHeader(length uint16) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, length), attr(1, nil)[2:]...)
}

// parsers returns everything that parses a reply.
func parsers() []func(reply) error {
	both := &state{packets: newTable(packets), frames: newTable(frames)}
	t := both.packets
	t.chains[""] = &chain{}
	s := &set{elements: map[string]bool{}}
	foreign := &foreignTable{chains: map[string][]foreignRule{}, maps: map[string][]*expr.Verdict{}}
	return []func(reply) error{
		foreign.parseRule, func(r reply) error { return foreign.parseElements("map", r) },
		both.parseTable, // the generation
		func(r reply) error { r.index = 1; return both.parseTable(r) },
		t.parseSet, both.parseChain, t.parseRule, s.parseElements,
		func(r reply) error { _, err := parseExprs(r.attrs); return err },
		func(r reply) error { _ = errnoOf(r.attrs); _ = isMarked(r.attrs); return nil },
	}
}

// recordedReplies returns the kernel's replies to a check: examples to corrupt.
func recordedReplies(t *testing.T) [][]byte {
	t.Helper()
	k := holding(t, sample())
	var all [][]byte
	k.alterReply = func(b []byte) []byte {
		all = append(all, slices.Clone(b))
		return b
	}
	if err := check(t, k, sample()); err != nil {
		t.Fatal(err)
	}
	return all
}

// corrupt changes, truncates or replaces bytes.
func corrupt(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	switch rng.IntN(3) {
	case 0:
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	case 1:
		b = b[:rng.IntN(len(b)+1)]
	}
	for range rng.IntN(4) {
		if len(b) > 0 {
			b[rng.IntN(len(b))] = byte(rng.IntN(40))
		}
	}
	return b
}

// TestNeverPanics gives malformed replies to every parser.
func TestNeverPanics(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	examples := recordedReplies(t)
	for range 20000 {
		const headers = unix.NLMSG_HDRLEN + 4
		example := examples[rng.IntN(len(examples))]
		r := reply{family: byte(rng.IntN(12)), attrs: corrupt(rng, example[min(headers, len(example)):])}
		for _, parse := range parsers() {
			_ = parse(r)
		}
	}
	for _, l := range chains { // rules have the deepest nesting
		for _, r := range l.rules {
			whole := ruleOf(r.exprs...)
			for range 500 {
				_, _ = parseExprs(corrupt(rng, whole))
			}
		}
	}
}

// TestCorruptedReply corrupts one datagram of a check. The check ends, with an error
// or without, and writes nothing.
func TestCorruptedReply(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	count := len(recordedReplies(t))
	for range 1000 {
		k := holding(t, sample())
		k.commits = nil
		at, n := rng.IntN(count), 0
		k.alterReply = func(b []byte) []byte {
			if n++; n-1 == at {
				return corrupt(rng, b)
			}
			return b
		}
		if s, err := read(k.connect()); err == nil {
			_ = s.Check(sample())
		}
		if len(k.commits) > 0 {
			t.Fatal("a check wrote")
		}
	}
}

// TestTruncatedReply truncates each datagram of a check, and expects an error.
func TestTruncatedReply(t *testing.T) {
	t.Parallel()
	for at, whole := range recordedReplies(t) {
		k := holding(t, sample())
		n := 0
		k.alterReply = func(b []byte) []byte {
			if n++; n-1 == at {
				return b[:len(b)-4]
			}
			return b
		}
		s, err := read(k.connect())
		if err == nil {
			err = s.Check(sample())
		}
		if !errors.Is(err, errMalformed) {
			t.Errorf("datagram %d of %d bytes: got error %v", at, len(whole), err)
		}
	}
}
