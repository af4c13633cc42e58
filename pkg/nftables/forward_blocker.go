// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ForwardBlocker is a base chain of another table that drops the forwarded
// packets that it does not accept itself. An accept ends only the base chain it
// is in: a packet passes all base chains of the hook, and each can drop it.
type ForwardBlocker struct {
	Family, Table, Chain string
	Program              string // the iptables program that keeps the policy; "" if none does
	ByRule               bool   // a rule drops the packets, not the policy
	Interface            string // which those come from that the rule drops
}

// Error names the chain.
func (b *ForwardBlocker) Error() string {
	if b.ByRule {
		return fmt.Sprintf("chain %s of table %s %s drops by a rule what comes from %q", b.Chain, b.Family, b.Table, b.Interface)
	}
	return fmt.Sprintf("chain %s of table %s %s drops what it does not accept itself", b.Chain, b.Family, b.Table)
}

// newForwardBlocker names the program by the variant of iptables: "-legacy", or
// "" for the tables that nf_tables shows.
func newForwardBlocker(family, table, chain, variant string) *ForwardBlocker {
	b := &ForwardBlocker{Family: family, Table: table, Chain: chain}
	program := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[family]
	if program != "" && table == "filter" && chain == "FORWARD" {
		b.Program = program + variant
	}
	return b
}

func (s *Snapshot) forwardBlockers() error {
	if s.state == nil {
		return nil
	}
	legacy, err := legacyForwardBlockers(s.origins)
	byRule, ruleErr := s.byRule()
	errs := []error{err, ruleErr}
	for _, b := range slices.Concat(s.byPolicy(), byRule, legacy) {
		errs = append(errs, b)
	}
	return errors.Join(errs...)
}

// byPolicy returns the base chains of other tables that drop by their policy.
func (s *state) byPolicy() []*ForwardBlocker {
	var found []*ForwardBlocker
	for _, b := range s.foreignBases {
		if b.policyDrops {
			found = append(found, newForwardBlocker(families[b.family], b.table, b.name, ""))
		}
	}
	return found
}

// legacyTable says where the kernel keeps a filter table of iptables-legacy, which
// nf_tables does not show. Offsets and sizes are those of struct ipt_entry and ip6t_entry,
// in bytes.
type legacyTable struct {
	family        byte
	names         string // file with the names of the existing tables
	level         int    // of getsockopt
	addressSize   int
	flagsOffset   int  // those that invert conditions come behind
	isGoto        byte // a flag
	targetOffset  int  // of the number that is its target's offset; the entry's size is next
	matchesOffset int
}

var legacyTables = []legacyTable{
	{unix.NFPROTO_IPV4, "/proc/thread-self/net/ip_tables_names", unix.SOL_IP, 4, 82, 0x02, 88, 112},
	{unix.NFPROTO_IPV6, "/proc/thread-self/net/ip6_tables_names", unix.SOL_IPV6, 16, 131, 0x04, 140, 168},
}

// legacyForwardBlockers returns the chains FORWARD of iptables-legacy that drop by their
// policy, or by a rule, what comes from an origin.
func legacyForwardBlockers(origins []origin) ([]*ForwardBlocker, error) {
	var found []*ForwardBlocker
	for _, l := range legacyTables {
		r, err := l.read()
		if err == nil && r != nil {
			var blockers []*ForwardBlocker
			blockers, err = r.blockers(origins)
			found = append(found, blockers...)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the %s filter table of iptables-legacy: %w", families[l.family], err)
		}
	}
	return found, nil
}

// blockers returns the chain FORWARD where it drops by its policy, or for each origin that
// it drops by a rule.
func (r *legacyRules) blockers(origins []origin) ([]*ForwardBlocker, error) {
	drops, err := r.isDrop(r.policyAt)
	if err != nil {
		return nil, err
	}
	if drops {
		return []*ForwardBlocker{newForwardBlocker(families[r.family], "filter", legacyForward, "-legacy")}, nil
	}
	t := &foreignTable{
		family: r.family, name: "filter", variant: "-legacy", legacy: r, chains: map[string][]foreignRule{},
		bases: []foreignBase{{family: r.family, table: "filter", name: legacyForward}},
	}
	return t.blockers(origins), t.err
}

// read returns the rules, or nil if the table does not exist.
func (l legacyTable) read() (r *legacyRules, err error) {
	askErr := l.ask(func(fd int) {
		for range maxAttempts {
			if r, err = l.readEntries(fd); !errors.Is(err, unix.EAGAIN) {
				return // else the table has another size than a moment ago
			}
		}
	})
	return r, errors.Join(askErr, err)
}

// ask calls do with a socket to the table if that exists. It looks for the name first:
// getsockopt would create the table. The file does not exist where the kernel has no
// iptables-legacy. Nobody may read it in a network namespace that was made along with its
// user namespace (unshare -Urn), before that had users.
func (l legacyTable) ask(do func(fd int)) error {
	names, err := os.ReadFile(l.names)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil || !slices.Contains(strings.Fields(string(names)), "filter") {
		return err
	}
	fd, err := unix.Socket(int(l.family), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	do(fd)
	return nil
}

// Layout of struct ipt_getinfo and ipt_get_entries (linux/netfilter_ipv4/ip_tables.h).
const (
	soGetInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES
	sizeOfName   = 32
	sizeOfInfo   = 84
	hookEntryAt  = sizeOfName + 4    // array by hook: offset of the chain's first entry
	underflowAt  = hookEntryAt + 5*4 // array by hook: offset of the policy's entry
	sizeAt       = sizeOfInfo - 4    // of all entries, in bytes
	entriesAt    = 40
	verdictAt    = 32         // in a standard target, behind size, name and revision
	verdictDrop  = ^uint32(0) // -NF_DROP - 1
)

// readInfo returns what the kernel says of the table's size and layout.
func (l legacyTable) readInfo(fd int) (info [sizeOfInfo]byte, err error) {
	copy(info[:], "filter")
	err = getsockopt(fd, l.level, soGetInfo, info[:])
	return info, err
}

func (l legacyTable) readEntries(fd int) (*legacyRules, error) {
	info, err := l.readInfo(fd)
	if err != nil {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(info[sizeAt:])
	entries := make([]byte, entriesAt+int(size))
	copy(entries, "filter")
	binary.NativeEndian.PutUint32(entries[sizeOfName:], size)
	if err := getsockopt(fd, l.level, soGetEntries, entries); err != nil {
		return nil, err
	}
	return &legacyRules{
		legacyTable: l, entries: entries[entriesAt:],
		forwardAt: int(binary.NativeEndian.Uint32(info[hookEntryAt+4*nfForward:])),
		policyAt:  int(binary.NativeEndian.Uint32(info[underflowAt+4*nfForward:])),
	}, nil
}

// isDrop reports whether the verdict of the entry at an offset is DROP.
func (r *legacyRules) isDrop(at int) (bool, error) {
	if at+r.targetOffset+2 > len(r.entries) {
		return false, errMalformed
	}
	at += int(binary.NativeEndian.Uint16(r.entries[at+r.targetOffset:])) + verdictAt
	if at+4 > len(r.entries) {
		return false, errMalformed
	}
	return binary.NativeEndian.Uint32(r.entries[at:]) == verdictDrop, nil
}

// getsockopt fills a buffer. The beginning of the buffer names what is asked for.
func getsockopt(fd, level, option int, buffer []byte) error {
	length := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
