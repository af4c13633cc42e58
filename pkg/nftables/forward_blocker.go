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

// ForwardBlocker is a chain of another table that drops what it does not accept
// itself, and so what containers send.
type ForwardBlocker struct {
	Family, Table, Chain string
	Program              string // of iptables, if it is that which keeps the table
}

// Error names the chain.
func (o *ForwardBlocker) Error() string {
	return fmt.Sprintf("chain %s of table %s %s drops what it does not accept itself", o.Chain, o.Family, o.Table)
}

// forwardBlocker is a chain of another table that drops what it does not accept.
type forwardBlocker struct {
	family, table, chain string
	variant              string // suffix of the iptables that has it
}

// program is what iptables calls the tables that it keeps.
func (b forwardBlocker) program() string {
	if b.family == "inet" || b.table != "filter" || b.chain != "FORWARD" {
		return ""
	}
	return map[string]string{"ip": "iptables", "ip6": "ip6tables"}[b.family] + b.variant
}

func (s *Snapshot) forwardBlockers() error {
	if s.table == nil {
		return nil
	}
	blockers := s.table.forwardBlockers
	legacy, err := legacyForwardBlockers()
	errs := []error{err}
	for _, b := range append(blockers, legacy...) {
		errs = append(errs, &ForwardBlocker{b.family, b.table, b.chain, b.program()})
	}
	return errors.Join(errs...)
}

// legacyTable is where the tables of iptables-legacy are, which nf_tables does not
// show. The offsets are of struct ipt_entry and ip6t_entry, in bytes.
type legacyTable struct {
	family       string
	names        string // file that lists the tables there are; asking for one that is not there would make it
	domain       int
	level        int // of getsockopt
	targetOffset int // where in an entry the offset of its target stands
}

var legacyTables = []legacyTable{
	{"ip", "/proc/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 88},
	{"ip6", "/proc/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 140},
}

// legacyForwardBlockers returns the chains FORWARD of iptables-legacy whose policy is
// DROP.
func legacyForwardBlockers() ([]forwardBlocker, error) {
	var found []forwardBlocker
	for _, l := range legacyTables {
		names, err := os.ReadFile(l.names)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(strings.Fields(string(names)), "filter") {
			continue
		}
		drops := false
		if err == nil {
			drops, err = l.policyDrops()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the policy of FORWARD in the %s filter table of iptables-legacy: %w", l.family, err)
		}
		if drops {
			found = append(found, forwardBlocker{l.family, "filter", "FORWARD", "-legacy"})
		}
	}
	return found, nil
}

// Layout of struct ipt_getinfo and struct ipt_get_entries (linux/netfilter_ipv4/ip_tables.h).
const (
	soGetInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	soGetEntries = 65
	sizeOfName   = 32
	sizeOfInfo   = 84
	underflowAt  = sizeOfName + 4 + 5*4 // array by hook: offset of the policy's entry
	sizeAt       = sizeOfInfo - 4       // of all entries, in bytes
	entriesAt    = 40
	verdictAt    = 32         // in a standard target
	verdictDrop  = ^uint32(0) // -NF_DROP - 1
)

// policyDrops reports whether the policy of the chain FORWARD is DROP: the verdict of
// the entry at the chain's end.
func (l legacyTable) policyDrops() (bool, error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
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
	at := entriesAt + int(binary.NativeEndian.Uint32(info[underflowAt+4*nfForward:]))
	if at+l.targetOffset+2 > len(entries) {
		return false, errMalformed
	}
	at += int(binary.NativeEndian.Uint16(entries[at+l.targetOffset:])) + verdictAt
	if at+4 > len(entries) {
		return false, errMalformed
	}
	return binary.NativeEndian.Uint32(entries[at:]) == verdictDrop, nil
}

// getsockopt fills a buffer whose beginning says what is asked for.
func getsockopt(fd, level, option int, buffer []byte) error {
	length := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
