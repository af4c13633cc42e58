// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// What is dropped is counted in sets whose elements the kernel makes, by the rule ahead of
// the drop: what passes pays nothing. They are nobody's state: no call compares, adds or
// deletes them, and they go with the table.

// maxDropped bounds the memory of such a set, some 3 MB. The interfaces in its keys are the
// host's own, so that no sender can fill it.
const maxDropped = 1 << 14

// keptFor is for how long an element outlives the last packet that it counted. The kernel
// tells how much of it is left, and with it the time of that packet.
const keptFor = 365 * 24 * time.Hour

// collectEach is how often the kernel looks for elements to delete: by default, each second.
const collectEach = 24 * time.Hour

// counting are the flags of a set whose elements the kernel makes and deletes.
const counting = unix.NFT_SET_EVAL | unix.NFT_SET_TIMEOUT

func (l setLayout) flags() uint32 {
	if l.counts {
		return counting
	}
	return 0
}

func countingAttrs() []byte {
	return slices.Concat(
		attrUint32(unix.NFTA_SET_FLAGS, counting),
		attr(unix.NFTA_SET_TIMEOUT, binary.BigEndian.AppendUint64(nil, uint64(keptFor.Milliseconds()))),
		attrUint32(unix.NFTA_SET_GC_INTERVAL, uint32(collectEach.Milliseconds())),
		attrNested(unix.NFTA_SET_DESC, attrUint32(unix.NFTA_SET_DESC_SIZE, maxDropped)))
}

// ownSets returns the sets whose elements the plugin makes.
func (l *tableLayout) ownSets() []setLayout {
	return slices.DeleteFunc(slices.Clone(l.sets), func(s setLayout) bool { return s.counts })
}

// What a packet is counted by: the interfaces that it came in by and leaves by. At the hook
// prerouting it has only the first.
var (
	pair = newRule("iifname . oifname", iifname(), oifname(2))
	port = newRule("iifname", iifname())
)

// droppedLayout returns a chain that counts and drops whatever jumps to it. In a set that is
// full, the kernel makes no element, and ends the rule (NFT_BREAK in nft_dynset_eval): so the
// drop is a rule of its own.
func droppedLayout(chain, set string, key rule) chainLayout {
	return chainLayout{chain, "counted, and stopped", nil, []rule{
		newRule("update @"+set+" { "+key.text+" counter }", key.exprs, count(set)),
		newRule("drop", verdict(expr.VerdictDrop)),
	}}
}

// isCounting reports whether a chain of the table for packets only counts and drops.
func isCounting(chain string) bool { return chain == chainDrop || chain == chainDropForged }

// Drops returns what the tables dropped, by interfaces; without tables, nothing. It reads no
// rules and takes no lock.
func (d *Driver) Drops() ([]policy.Drop, error) {
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	drops, err := c.conn.drops(time.Now())
	return drops, queryError(err)
}

func (c *conn) drops(now time.Time) ([]policy.Drop, error) {
	var all []policy.Drop
	for _, l := range []*tableLayout{packets, frames} {
		for _, s := range l.sets {
			if !s.counts {
				continue
			}
			found, err := c.counted(l, s, now)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// reasons has, by set, why what it counts was dropped.
var reasons = map[string]policy.DropReason{
	setDropped: policy.DropIsolation, setForged: policy.DropForged,
	setFramesDropped: policy.DropFrame, setFramesForged: policy.DropForged,
}

// counted lists one set.
func (c *conn) counted(l *tableLayout, s setLayout, now time.Time) (found []policy.Drop, err error) {
	err = c.dump(func(r reply) error {
		return eachElement(r.attrs, func(attrs []byte) error {
			drop := policy.Drop{Reason: reasons[s.name], CountedBy: policy.CountedByNFTables}
			err := parseDrop(&drop, attrs, now)
			if drop.Packets > 0 { // else somebody else added it
				found = append(found, drop)
			}
			return err
		})
	}, dumpElements(l.family, tableName, s.name), func() { found = nil })
	return found, err
}

func parseDrop(d *policy.Drop, attrs []byte, now time.Time) error {
	return eachAttr(attrs, func(kind int, value []byte) error {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			return eachAttr(value, func(_ int, key []byte) error {
				d.From, d.To = interfaceName(string(key)), interfaceName(string(key[min(unix.IFNAMSIZ, len(key)):]))
				return nil
			})
		case unix.NFTA_SET_ELEM_EXPIRATION:
			left := time.Duration(parseUint64(value)) * time.Millisecond
			d.Last = now.Add(left - keptFor)
		case unix.NFTA_SET_ELEM_EXPR:
			return parseCounter(d, value)
		}
		return nil
	})
}

func parseCounter(d *policy.Drop, value []byte) error {
	name, data, err := splitExpr(value)
	if err != nil || name != "counter" {
		return err
	}
	return eachAttr(data, func(kind int, number []byte) error {
		switch kind {
		case unix.NFTA_COUNTER_PACKETS:
			d.Packets = parseUint64(number)
		case unix.NFTA_COUNTER_BYTES:
			d.Bytes = parseUint64(number)
		}
		return nil
	})
}
