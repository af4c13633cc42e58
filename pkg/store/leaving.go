// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// A container's port outlives its record: libcni deletes in reverse order, so the
// bridge plugin removes the port after this plugin's DEL. Until then the DEL of
// the bridge's last container must not count that port as one that needs
// isolation. An empty file remembers each such port.
const leavingPrefix = "leaving,"

// MarkLeaving remembers the port with an interface index.
func (s *Store) MarkLeaving(index int) error {
	began := time.Now()
	name := leavingName(index)
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	journal.Tell(inJournal, began, journal.Added(name), err)
	if err != nil {
		return fmt.Errorf("remembering a leaving port: %w", err)
	}
	return f.Close()
}

// ForgetLeaving forgets a port that is gone or in use again.
func (s *Store) ForgetLeaving(index int) error { return s.remove(leavingName(index)) }

func leavingName(index int) string { return leavingPrefix + strconv.Itoa(index) }

func parseLeaving(name string) (index int, ok bool) {
	number, ok := strings.CutPrefix(name, leavingPrefix)
	if !ok {
		return 0, false
	}
	index, err := strconv.Atoi(number)
	return index, err == nil
}
