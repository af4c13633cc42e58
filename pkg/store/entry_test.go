// SPDX-License-Identifier: Apache-2.0

package store

import (
	"testing"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// FuzzParseEntry looks for names that panic, or that pass with something in them
// which is no interface and no host address.
func FuzzParseEntry(f *testing.F) {
	f.Add(NewEntry(attachment("c1", "10.0.0.2", "fd00::2")).file)
	f.Add(NewEntry(attachment("c1")).file)
	f.Fuzz(func(t *testing.T, file string) {
		var e Entry
		whole, err := e.parse(file)
		if err != nil || !whole {
			return
		}
		if b := e.Attachment.Bridge; b != "" && policy.CheckInterface(b) != nil {
			t.Errorf("bridge %q passed", b)
		}
		for _, p := range e.Attachment.Addresses {
			if p.Bits() != p.Addr().BitLen() {
				t.Errorf("address %s is not that of one host", p)
			}
		}
	})
}
