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
	ByRule               bool   // it has a rule that drops everything, not the policy
}

// Error names the chain.
func (b *ForwardBlocker) Error() string {
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
	legacy, err := legacyForwardBlockers()
	errs := []error{err}
	for _, b := range slices.Concat(s.byPolicy(), legacy) {
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
// nf_tables does not show. Offsets are those of struct ipt_entry and ip6t_entry,
// in bytes.
type legacyTable struct {
	family       string
	names        string // file with the names of the existing tables
	domain       int
	level        int // of getsockopt
	targetOffset int // in an entry: of the number that is its target's offset
}

var legacyTables = []legacyTable{
	{"ip", "/proc/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 88},
	{"ip6", "/proc/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 140},
}

// legacyForwardBlockers returns the chains FORWARD of iptables-legacy that have
// the policy DROP.
func legacyForwardBlockers() ([]*ForwardBlocker, error) {
	var found []*ForwardBlocker
	for _, l := range legacyTables {
		drops, err := l.blocksForwarding()
		if err != nil {
			return nil, fmt.Errorf("reading the policy of FORWARD in the %s filter table of iptables-legacy: %w",
				l.family, err)
		}
		if drops {
			found = append(found, newForwardBlocker(l.family, "filter", "FORWARD", "-legacy"))
		}
	}
	return found, nil
}

// blocksForwarding reports whether the table exists and drops what FORWARD does
// not accept.
func (l legacyTable) blocksForwarding() (drops bool, err error) {
	askErr := l.ask(func(fd int) { drops, err = l.policyDrops(fd) })
	return drops, errors.Join(askErr, err)
}

// ask calls do with a socket to the table if that exists. It looks for the name first:
// getsockopt would create the table.
func (l legacyTable) ask(do func(fd int)) error {
	names, err := os.ReadFile(l.names)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the kernel has no iptables-legacy
	}
	if err != nil || !slices.Contains(strings.Fields(string(names)), "filter") {
		return err
	}
	fd, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	do(fd)
	return nil
}

// Layout of struct ipt_getinfo and struct ipt_get_entries (linux/netfilter_ipv4/ip_tables.h).
const (
	soGetInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES
	sizeOfName   = 32
	sizeOfInfo   = 84
	underflowAt  = sizeOfName + 4 + 5*4 // array by hook: offset of the policy's entry
	sizeAt       = sizeOfInfo - 4       // of all entries, in bytes
	entriesAt    = 40
	verdictAt    = 32         // in a standard target
	verdictDrop  = ^uint32(0) // -NF_DROP - 1
)

// policyDrops reports whether the policy of the chain FORWARD is DROP: the verdict
// of the entry at its end.
func (l legacyTable) policyDrops(fd int) (bool, error) {
	info := make([]byte, sizeOfInfo)
	copy(info, "filter")
	if err := getsockopt(fd, l.level, soGetInfo, info); err != nil {
		return false, err
	}
	size := binary.NativeEndian.Uint32(info[sizeAt:])
	entries := make([]byte, entriesAt+int(size))
	copy(entries, "filter")
	binary.NativeEndian.PutUint32(entries[sizeOfName:], size)
	if err := getsockopt(fd, l.level, soGetEntries, entries); err != nil {
		return false, err
	}
	policyAt := entriesAt + int(binary.NativeEndian.Uint32(info[underflowAt+4*nfForward:]))
	return l.isDrop(entries, policyAt)
}

// isDrop reports whether the verdict of the entry at an offset is DROP.
func (l legacyTable) isDrop(entries []byte, at int) (bool, error) {
	if at+l.targetOffset+2 > len(entries) {
		return false, errMalformed
	}
	at += int(binary.NativeEndian.Uint16(entries[at+l.targetOffset:])) + verdictAt
	if at+4 > len(entries) {
		return false, errMalformed
	}
	return binary.NativeEndian.Uint32(entries[at:]) == verdictDrop, nil
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
