// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// What is remembered of a bridge port, or of an address, outlives its record. An empty
// file remembers it, named after the mark, and the port's interface index or the address.
const (
	// A container's port outlives its record: libcni deletes in reverse order, so the
	// bridge plugin removes the port after this plugin's DEL. Until then the DEL of
	// the bridge's last container must not count that port as one that needs
	// isolation.
	leaving = "leaving"

	// A port whose flag "isolated" the plugin set. It clears no other.
	flagged = "flagged"

	// An address that redirected connections led to when its container was deleted.
	// Whoever sends goes on sending until the plugin portmap has taken the mapping
	// away, which it does after this plugin's DEL: the kernel may have such a connection
	// again. The next container with that address must not get it.
	freed = "freed"
)

// MarkLeaving remembers the port of a container that was deleted.
func (s *Store) MarkLeaving(index int) error { return s.mark(leaving, strconv.Itoa(index)) }

// ForgetLeaving forgets a port that is gone or in use again.
func (s *Store) ForgetLeaving(index int) error {
	return s.remove(markName(leaving, strconv.Itoa(index)))
}

// MarkFlagged remembers a port whose flag the plugin sets.
func (s *Store) MarkFlagged(index int) error { return s.mark(flagged, strconv.Itoa(index)) }

// ForgetFlagged forgets a port that is gone, or whose flag the plugin cleared.
func (s *Store) ForgetFlagged(index int) error {
	return s.remove(markName(flagged, strconv.Itoa(index)))
}

// MarkFreed remembers an address of a container that was deleted.
func (s *Store) MarkFreed(address netip.Addr) error { return s.mark(freed, hexOf(address)) }

// ForgetFreed forgets an address that is in use again.
func (s *Store) ForgetFreed(address netip.Addr) error {
	return s.remove(markName(freed, hexOf(address)))
}

func hexOf(address netip.Addr) string { return hex.EncodeToString(address.AsSlice()) }

func (s *Store) mark(mark, of string) error {
	began := time.Now()
	name := markName(mark, of)
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	journal.Tell(inJournal, began, journal.Added(name), err)
	if err != nil {
		return fmt.Errorf("remembering what is %s: %w", mark, err)
	}
	return f.Close()
}

func markName(mark, of string) string { return mark + "," + of }

// addMark adds a mark to the listing, if the file is one: named as mark names it.
func (l *Listing) addMark(name string) (ok bool) {
	mark, of, _ := strings.Cut(name, ",")
	switch mark {
	case leaving:
		return addIndex(&l.Leaving, of)
	case flagged:
		return addIndex(&l.Flagged, of)
	case freed:
		address, ok := parseAddress(of)
		if ok = ok && hexOf(address) == of; ok {
			l.Freed = append(l.Freed, address)
		}
		return ok
	}
	return false
}

// addIndex adds an interface's index, if the text is one.
func addIndex(all *[]int, text string) (ok bool) {
	index, err := strconv.Atoi(text)
	if err != nil || index <= 0 || strconv.Itoa(index) != text {
		return false
	}
	*all = append(*all, index)
	return true
}
