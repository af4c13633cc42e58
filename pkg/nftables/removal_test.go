// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestTableStays expects the table to outlive the last container as long as the
// operator has something in it.
func TestTableStays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fill  func(*hostTable)
		stays bool
	}{
		"nothing":                 {func(*hostTable) {}, false},
		"an empty chain":          {func(t *hostTable) { t.newChain("mine", nil) }, false},
		"a rule in its chain":     {func(t *hostTable) { t.chain("CNI-ADMIN").rules = [][]byte{counterRule} }, true},
		"a rule in another chain": {func(t *hostTable) { t.newChain("mine", nil).rules = [][]byte{acceptRule} }, true},
		"a chain on a hook":       {func(t *hostTable) { t.newChain("mine", baseChain(1, 0, nfAccept)) }, true},
		"a counter":               {func(t *hostTable) { t.otherObjects = 1 }, true},
		"a set": {func(t *hostTable) {
			s := *t.set(setIPv4)
			s.name, s.attrs = "mine", attributes{unix.NFTA_SET_NAME: []byte("mine\x00")}
			t.sets = append(t.sets, &s)
		}, true},
		"an anonymous set": {func(t *hostTable) {
			name := attributes{unix.NFTA_SET_NAME: []byte("__set0\x00")}
			t.sets = append(t.sets, &hostSet{name: "__set0", attrs: name})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := holding(t, sample())
			k.otherProgram(func(h *host) { test.fill(h.table()) })
			if err := check(t, k, sample()); err != nil {
				t.Errorf("what is the operator's is no difference: %v", err)
			}
			remove(t, k, sample())
			if got := k.host.table() != nil; got != test.stays {
				t.Errorf("stays %t, want %t:\n%s", got, test.stays, k.host.String())
			}
			for _, l := range packets.ownSets() {
				if test.stays && len(k.elements(l.name)) > 0 {
					t.Errorf("set %s holds %q", l.name, k.elements(l.name))
				}
			}
		})
	}
}
