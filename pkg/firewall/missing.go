// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"io/fs"

	"github.com/cni-isolation/firewall/pkg/policy"
	"github.com/cni-isolation/firewall/pkg/store"
)

// Missing reports whether a driver lacks what the records ask for, or has what
// contradicts them, so that a restore has something to do. In the middle of another call
// it may report what that call is about to put right; if it is to be certain, it fails
// there instead, and IsTemporary is true of the error. It waits for no lock.
func (fw *Engine) Missing(name policy.DriverName, certain bool) (bool, error) {
	s, err := store.Peek(fw.storage.dataDir)
	if err != nil {
		return false, err
	}
	if certain {
		unlock, err := s.TryLock()
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil // nor are there records
		}
		if err != nil {
			return false, err
		}
		defer unlock()
	}
	r, err := fw.storage.list(s).followed()
	if err != nil {
		return false, err
	}
	all, _ := r.attachments() // of a record that cannot be read, the name counts
	rs, used := fw.desired(r, nil, append(r.briefs(), all...))[name]
	if !used {
		return false, nil
	}
	actual, warning, err := fw.drivers.read(name, rs.Families(), rs.Families())
	if fw.warn(warning); err != nil {
		return false, err
	}
	return actual.Check(rs) != nil, nil
}
