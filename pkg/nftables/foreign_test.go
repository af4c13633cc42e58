// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// strangers are tables of the plugin's name in which somebody else has something.
var strangers = map[string]func(*hostTable){
	"a chain":            func(t *hostTable) { t.newChain("mine", nil) },
	"a chain on a hook":  func(t *hostTable) { t.newChain(chainForward, baseChain(nfForward, 0, nfAccept)) },
	"a chain with rules": func(t *hostTable) { t.newChain("mine", nil).rules = [][]byte{acceptAll, countsAll} },
	"a set like ours": func(t *hostTable) {
		m := containers(sample(), true)[0]
		attrs := mustParse(sets[4].create().attrs)
		delete(attrs, unix.NFTA_SET_USERDATA)
		t.sets = append(t.sets, &hostSet{m.set, attrs, map[string]attributes{m.key: mustParse(mustElement(m))}})
	},
	"a counter": func(t *hostTable) { t.others = 1 },
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, fill := range strangers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel()
			k.other(func(h *host) { fill(h.newTable(unix.NFPROTO_INET, tableName)) })
			before := k.host.String()
			s := start(t, k)
			for verb, err := range map[string]error{
				"apply": s.Apply(sample(), nil), "apply of one": s.Apply(ofFirst(), []string{"br1"}),
				"check": s.Check(sample()), "check of nothing": s.Check(policy.RuleSet{}),
			} {
				if !errors.Is(err, ErrForeign) {
					t.Errorf("%s: got error %v", verb, err)
				}
			}
			if err := errors.Join(s.Remove(sample()), s.Rollback(sample(), false)); err != nil {
				t.Errorf("remove: %v", err)
			}
			if len(k.commits) > 0 {
				t.Errorf("written: %v", kinds(k.last()))
			}
			k.holds(t, before)
		})
	}
}

// TestAdopted makes a table its own that has nothing in it, and one whose mark is
// on what is in it.
func TestAdopted(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.other(func(h *host) { h.newTable(unix.NFPROTO_INET, tableName) })
	apply(t, k, sample())
	if err := check(t, k, sample()); err != nil {
		t.Error(err)
	}
	apply(t, k, lone())
	remove(t, k, lone())
	remove(t, k, sample())
	k.holds(t, "")
}

// TestBecomesForeign has somebody else take the name between reading and writing.
func TestBecomesForeign(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.meanwhile = func(n int, h *host) bool {
		if n == 0 {
			strangers["a chain"](h.newTable(unix.NFPROTO_INET, tableName))
		}
		return n == 0
	}
	if err := start(t, k).Apply(sample(), nil); !errors.Is(err, ErrForeign) {
		t.Errorf("got error %v", err)
	}
	if len(k.commits) != 1 {
		t.Errorf("got %d transactions, want 1", len(k.commits))
	}
}

// TestSameName leaves alone a table of the name in another family, and what is
// in other tables.
func TestSameName(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.other(func(h *host) {
		for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_BRIDGE} {
			table := h.newTable(family, tableName)
			table.newChain(chainIsolation, baseChain(nfForward, 0, nfAccept)).rules = [][]byte{acceptAll}
		}
	})
	before := k.host.String()
	apply(t, k, sample())
	if err := check(t, k, sample()); err != nil {
		t.Error(err)
	}
	remove(t, k, sample())
	k.holds(t, before)
}

// TestStays keeps the table with the last container gone while the operator has
// something in it.
func TestStays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fill  func(*hostTable)
		stays bool
	}{
		"nothing":                 {func(*hostTable) {}, false},
		"an empty chain":          {func(t *hostTable) { t.newChain("mine", nil) }, false},
		"a rule in its chain":     {func(t *hostTable) { t.chain("CNI-ADMIN").rules = [][]byte{countsAll} }, true},
		"a rule in another chain": {func(t *hostTable) { t.newChain("mine", nil).rules = [][]byte{acceptAll} }, true},
		"a chain on a hook":       {func(t *hostTable) { t.newChain("mine", baseChain(1, 0, nfAccept)) }, true},
		"a counter":               {func(t *hostTable) { t.others = 1 }, true},
		"a set": {func(t *hostTable) {
			s := *t.set(setIPv4)
			s.name, s.attrs = "mine", attributes{unix.NFTA_SET_NAME: []byte("mine\x00")}
			t.sets = append(t.sets, &s)
		}, true},
		"an anonymous set": {func(t *hostTable) {
			t.sets = append(t.sets, &hostSet{name: "__set0", attrs: attributes{unix.NFTA_SET_NAME: []byte("__set0\x00")}})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := holding(t, sample())
			k.other(func(h *host) { test.fill(h.table()) })
			if err := check(t, k, sample()); err != nil {
				t.Errorf("what is the operator's is no difference: %v", err)
			}
			remove(t, k, sample())
			if got := k.host.table() != nil; got != test.stays {
				t.Errorf("stays %t, want %t:\n%s", got, test.stays, k.host.String())
			}
			for _, l := range sets {
				if test.stays && len(k.elements(l.name)) > 0 {
					t.Errorf("set %s holds %q", l.name, k.elements(l.name))
				}
			}
		})
	}
}
