// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestInterrupted has another program change tables during each dump.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for dump := 1; dump <= 3; dump++ { // after the queries for the generation and the table
		k := holding(t, sample())
		first := k.requests
		k.interrupt = func(n int) bool { return n == first+1+dump }
		if err := check(t, k, sample()); err != nil {
			t.Errorf("dump %d: %v", dump, err)
		}
	}
	k := holding(t, sample())
	k.interrupt = func(int) bool { return true }
	if s, err := read(k.connect()); !errors.Is(err, ErrBusy) || s.Families() != 0 {
		t.Errorf("got families %v, error %v", s.Families().List(), err)
	}
}

// TestFailedQuery has each query of a check fail once, with each error.
func TestFailedQuery(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	before := k.requests
	if err := check(t, k, sample()); err != nil {
		t.Fatal(err)
	}
	calls := k.requests - before
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EINVAL, unix.ENOMEM} {
		for n := range calls {
			t.Run(fmt.Sprintf("%s/%d", unix.ErrnoName(errno), n), func(t *testing.T) {
				t.Parallel()
				k := holding(t, sample())
				first := k.requests
				k.fail = func(i int, _ message) syscall.Errno { return map[int]syscall.Errno{first + n: errno}[i] }
				c := k.connect()
				s, err := read(c)
				if err == nil {
					err = s.Check(sample())
				}
				if !errors.Is(err, errno) || errors.Is(err, ErrUnsupported) != (errno == unix.EINVAL) {
					t.Errorf("got error %v", err)
				}
				// Late replies are not taken for those to the next query.
				if s, err := read(c); err != nil || s.Check(sample()) != nil {
					t.Errorf("afterwards: %v, %v", err, s.Check(sample()))
				}
			})
		}
	}
}

// foreignTables are tables of another program that have the plugin's name.
var foreignTables = map[string]func(*hostTable){
	"a chain":            func(t *hostTable) { t.newChain("mine", nil) },
	"a chain on a hook":  func(t *hostTable) { t.newChain(chainForward, baseChain(nfForward, 0, nfAccept)) },
	"a chain with rules": func(t *hostTable) { t.newChain("mine", nil).rules = [][]byte{acceptRule, counterRule} },
	"a set of the plugin's name": func(t *hostTable) {
		e := addressElements(sample(), true)[0]
		attrs := mustParse(sets[4].create(1).attrs)
		delete(attrs, unix.NFTA_SET_USERDATA)
		t.sets = append(t.sets, &hostSet{e.set, attrs, map[string]attributes{e.key: mustParse(elementAttrs(e))}})
	},
	"a counter": func(t *hostTable) { t.otherObjects = 1 },
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, fill := range foreignTables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel()
			k.otherProgram(func(h *host) { fill(h.newTable(unix.NFPROTO_INET, tableName)) })
			before := k.host.String()
			s := readSnapshot(t, k)
			for verb, err := range map[string]error{
				"apply": s.Apply(sample(), nil), "apply of one": s.Apply(addToFirst(), []string{"br1"}),
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
				t.Errorf("written: %v", kinds(k.lastCommit()))
			}
			k.wantHost(t, before)
		})
	}
}

// TestUnmarkedEmptyTable uses an empty table without the plugin's comment. From then
// on it is known by the comments of what is in it.
func TestUnmarkedEmptyTable(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.otherProgram(func(h *host) { h.newTable(unix.NFPROTO_INET, tableName) })
	apply(t, k, sample())
	if err := check(t, k, sample()); err != nil {
		t.Error(err)
	}
	apply(t, k, oneMore())
	remove(t, k, oneMore())
	remove(t, k, sample())
	k.wantHost(t, "")
}

// TestBecomesForeign has another program create the table between reading and
// writing.
func TestBecomesForeign(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.concurrent = func(n int, h *host) bool {
		if n == 0 {
			foreignTables["a chain"](h.newTable(unix.NFPROTO_INET, tableName))
		}
		return n == 0
	}
	if err := readSnapshot(t, k).Apply(sample(), nil); !errors.Is(err, ErrForeign) {
		t.Errorf("got error %v", err)
	}
	if len(k.commits) != 1 {
		t.Errorf("got %d transactions, want 1", len(k.commits))
	}
}

// TestSameName expects tables of the same name in other families to stay as they
// are.
func TestSameName(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.otherProgram(func(h *host) {
		for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_BRIDGE} {
			table := h.newTable(family, tableName)
			table.newChain(chainIsolation, baseChain(nfForward, 0, nfAccept)).rules = [][]byte{acceptRule}
		}
	})
	before := k.host.String()
	apply(t, k, sample())
	if err := check(t, k, sample()); err != nil {
		t.Error(err)
	}
	remove(t, k, sample())
	k.wantHost(t, before)
}
