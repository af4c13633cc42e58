// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// TestConcurrentChange has another program change tables between reading and
// writing.
func TestConcurrentChange(t *testing.T) {
	t.Parallel()
	stricter := policy.Desired(container("br1", policy.Isolated, policy.Deny, "10.1.0.2"))
	br1 := interfaceKey("br1")
	tests := map[string]struct {
		do   func(*host)
		want [][]string // kinds of changes by transaction
	}{
		"creates a table": {func(h *host) { h.newTable(unix.NFPROTO_IPV4, "nat") },
			[][]string{{"NEWSETELEM", "DELSETELEM"}, {"NEWSETELEM", "DELSETELEM"}}},
		"adds what was to be added": {func(h *host) {
			e := element{set: setBlockedWithin, key: br1 + br1}
			h.table().set(e.set).elements[e.key] = mustParse(elementAttrs(e))
		}, [][]string{{"NEWSETELEM", "DELSETELEM"}, {"DELSETELEM"}}},
		"deletes what was to be deleted": {func(h *host) { delete(h.table().set(setPublished).elements, br1) },
			[][]string{{"NEWSETELEM", "DELSETELEM"}, {"NEWSETELEM"}}},
		"empties our sets": {func(h *host) {
			for _, s := range h.table().sets {
				clear(s.elements)
			}
		}, [][]string{{"NEWSETELEM", "DELSETELEM"}, {"NEWSETELEM"}}},
		"deletes our table": {func(h *host) { h.tables = nil },
			[][]string{{"NEWSETELEM", "DELSETELEM"}, {
				"NEWTABLE", "NEWSET", "NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE",
				"NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE", "NEWCHAIN", "NEWRULE",
				"NEWSETELEM", "NEWRULE",
			}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := holding(t, policy.Desired(container("br1", policy.SameBridge, policy.Allow, "10.1.0.2")))
			k.commits = nil
			k.concurrent = func(n int, h *host) bool {
				if n == 0 {
					test.do(h)
				}
				return n == 0
			}
			apply(t, k, stricter)
			var got [][]string
			for _, c := range k.commits {
				got = append(got, kinds(c))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if err := check(t, k, stricter); err != nil {
				t.Errorf("%v in\n%s", err, k.host.String())
			}
		})
	}
}

// TestConcurrentSameChange has another program make all changes of the transaction.
func TestConcurrentSameChange(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	apply(t, k, oneMore())
	k.commits = nil
	k.concurrent = func(_ int, h *host) bool {
		clear(h.table().set(setIPv4).elements)
		clear(h.table().set(setIPv6).elements)
		return true
	}
	rs := oneMore()
	rs.Bridges = nil
	if err := readSnapshot(t, k).Remove(rs); err != nil {
		t.Fatal(err)
	}
	if len(k.commits) != 1 {
		t.Errorf("got %d transactions, want 1", len(k.commits))
	}
}

// TestAttempts has other programs change tables during some attempts, and during
// all.
func TestAttempts(t *testing.T) {
	t.Parallel()
	const bound = 100
	for _, losses := range []int{0, 1, 7, bound - 1, bound, 10 * bound} {
		k := newKernel()
		k.concurrent = func(n int, _ *host) bool { return n < losses }
		err := readSnapshot(t, k).Apply(sample(), nil)
		if errors.Is(err, ErrBusy) != (losses >= bound) || err != nil && losses < bound {
			t.Errorf("%d losses: got error %v", losses, err)
		}
		if want := min(losses+1, bound); len(k.commits) != want {
			t.Errorf("%d losses: got %d transactions, want %d", losses, len(k.commits), want)
		}
		if losses >= bound {
			k.wantHost(t, "")
		}
	}
}

// TestRefusedChange has a transaction fail once, with each error: the whole, its first
// or second change, or in the socket.
func TestRefusedChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		errno syscall.Errno
		again bool
	}{
		{unix.ERESTART, true}, {unix.EBUSY, true}, {unix.ENOBUFS, true}, {unix.EAGAIN, true}, {unix.EINTR, true},
		{unix.EPERM, false}, {unix.ENOSPC, false}, {unix.ENOMEM, false}, {unix.EINVAL, false}, {unix.ENOENT, false},
	} {
		for place := range 4 {
			t.Run(fmt.Sprintf("%s/%d", unix.ErrnoName(test.errno), place-1), func(t *testing.T) {
				t.Parallel()
				k := holding(t, sample())
				before := k.host.String()
				k.commits = nil
				k.refuse = nth(0, &fault{place - 1, test.errno})
				if place == 3 {
					k.refuse, k.sendError = nil, once(test.errno)
				}
				want := [...]string{
					"", `set containers_ipv4 lacks "br1" . 10.1.0.9: `, `set containers_ipv6 lacks "br1" . fd01::9: `, "",
				}[place]
				err := readSnapshot(t, k).Apply(oneMore(), nil)
				if test.again {
					if err != nil || check(t, k, oneMore()) != nil {
						t.Errorf("got error %v, and then %v", err, check(t, k, oneMore()))
					}
					return
				}
				text := "writing table inet cni_firewall: " + want + test.errno.Error()
				if !errors.Is(err, test.errno) || err.Error() != text {
					t.Errorf("got error %v, want %s", err, text)
				}
				if len(k.commits) > 1 {
					t.Error("tried again")
				}
				k.wantHost(t, before)
			})
		}
	}
}

// once returns an error at the first call.
func once(errno syscall.Errno) func(int) error {
	calls := 0
	return func(int) error {
		if calls++; calls == 1 {
			return errno
		}
		return nil
	}
}

// TestInUseByAdmin has the operator's rules refer to a set that must be deleted. The
// kernel refuses that, which is not ErrBusy.
func TestInUseByAdmin(t *testing.T) {
	t.Parallel()
	k := holding(t, sample())
	k.otherProgram(func(h *host) {
		setDamages(setIPv4)[3].do(h.table())
		drop := newRule("", lookup(setIPv4), verdict(expr.VerdictDrop))
		h.table().chain("CNI-ADMIN").rules = [][]byte{ruleOf(drop.exprs...)}
	})
	err := readSnapshot(t, k).Apply(sample(), nil)
	if err == nil || errors.Is(err, ErrBusy) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("after %d transactions: got error %v", len(k.commits), err)
	}
}

// TestObjects expects each change to be named, as added or as removed.
func TestObjects(t *testing.T) {
	t.Parallel()
	var tx transaction
	address := element{set: setGuardedIPv4, key: "\x0a\x01\x00\x02"}
	rule, err := jumpTo("CNI-ADMIN").create(chainForward)
	if err != nil {
		t.Fatal(err)
	}
	created, err := address.create()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []request{
		createTable(), sets[0].create(1), chainLayout{name: chainStage2}.create(mark), rule, created,
		address.delete(), flushChain(chainForward), deleteChain(chainForward), deleteSet(setIPv4), deleteTable(),
	} {
		tx.add("", r)
	}
	var both transaction
	both.join(newTable(packets), tx)
	added, removed := both.objectsIn(packets)()
	want := [][]string{
		{"table", "set isolated_bridges", "chain isolation_stage_2", "rule of chain forward: jump CNI-ADMIN",
			"element guarded_ipv4 10.1.0.2"},
		{"element guarded_ipv4 10.1.0.2", "rules of chain forward", "chain forward", "set containers_ipv4", "table"},
	}
	if diff := cmp.Diff(want, [][]string{added, removed}); diff != "" {
		t.Error(diff)
	}
}
