// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cni-isolation/firewall/pkg/journal"
)

// A container's port outlives its record: libcni deletes in reverse order, so
// that the bridge plugin takes the port away only after this plugin's DEL. In
// between, the DEL of the bridge's last container must not take that port for
// one which still needs isolation. An empty file remembers each such port.
const leavingPrefix = "leaving,"

// MarkLeaving remembers the port with an interface index.
func (s *Store) MarkLeaving(index int) error {
	began := time.Now()
	f, err := os.OpenFile(s.leaving(index), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	journal.Tell(place, began, journal.Added(filepath.Base(s.leaving(index))), err)
	if err != nil {
		return fmt.Errorf("remembering a leaving port: %w", err)
	}
	return f.Close()
}

// ForgetLeaving forgets a port, which is gone or in use again.
func (s *Store) ForgetLeaving(index int) error { return s.remove(leavingPrefix + strconv.Itoa(index)) }

func (s *Store) leaving(index int) string {
	return filepath.Join(s.dir, leavingPrefix+strconv.Itoa(index))
}

func parseLeaving(name string) (index int, ok bool) {
	number, ok := strings.CutPrefix(name, leavingPrefix)
	if !ok {
		return 0, false
	}
	index, err := strconv.Atoi(number)
	return index, err == nil
}
