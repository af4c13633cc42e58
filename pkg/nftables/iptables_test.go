// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// ofIPTables returns a kernel with a filter table of each family: three chains, of which the
// first leads to the second.
func ofIPTables() *kernel {
	k := newKernel()
	for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		t := k.host.newTable(family, filterTable)
		toSecond := jump("SECOND")
		for name, rules := range map[string][][]byte{
			"FIRST":  {ruleOf(acceptIt), ruleOf(toSecond...), ruleOf(dropIt)},
			"SECOND": {ruleOf(dropIt), ruleOf(returnIt)},
			"THIRD":  {ruleOf(acceptIt)},
		} {
			c := t.newChain(name, nil)
			c.rules = append([][]byte{nil}, rules...) // so that a place is no handle
		}
	}
	return k
}

// left describes the chains of iptables, and the handles of their rules.
func (k *kernel) left() string {
	var all []string
	for _, t := range k.host.tables {
		for _, c := range t.chains {
			var handles []int
			for i, r := range c.rules {
				if r != nil {
					handles = append(handles, i+1)
				}
			}
			all = append(all, fmt.Sprintf("%d %s %v", t.family, c.name, handles))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestDeleteRules deletes rules by their places, in both families at once, and what it
// cannot delete for certain it does not.
func TestDeleteRules(t *testing.T) {
	t.Parallel()
	whole := ofIPTables().left()
	both := []policy.Deletion{
		{Family: policy.IPv4, Chain: "FIRST", Places: []int{1, 2}, Of: 3},
		{Family: policy.IPv6, Chain: "FIRST", Places: []int{1}, Of: 3},
		{Family: policy.IPv6, Chain: "SECOND", Places: []int{0, 1}, Of: 2, Whole: true},
	}
	for name, test := range map[string]struct {
		generation uint32
		deletions  []policy.Deletion
		befall     func(*kernel)
		want       string
		err        error
	}{
		"both families":      {7, both, nil, "10 FIRST [2 4]\n10 THIRD [2]\n2 FIRST [2]\n2 SECOND [2 3]\n2 THIRD [2]", nil},
		"another generation": {6, both, nil, whole, unix.ERESTART},
		"a change meanwhile": {7, both, func(k *kernel) {
			k.concurrent = func(int, *host) bool { return true }
		}, whole, unix.ERESTART},
		"another chain":  {7, []policy.Deletion{both[0], {Family: policy.IPv6, Chain: "THIRD", Places: []int{1}, Of: 2}}, nil, whole, errOtherRules},
		"no such chain":  {7, []policy.Deletion{{Family: policy.IPv4, Chain: "FOURTH", Places: []int{0}, Of: 1}}, nil, whole, errOtherRules},
		"a chain in use": {7, both[2:], nil, whole, unix.EBUSY},
	} {
		k := ofIPTables()
		if test.befall != nil {
			test.befall(k)
		}
		d := &Driver{func() (*Conn, error) { return &Conn{k.connect()}, nil }}
		if err := d.DeleteRules(test.generation, test.deletions); !errors.Is(err, test.err) {
			t.Errorf("%s: error %v, want %v", name, err, test.err)
		}
		if diff := cmp.Diff(test.want, k.left()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestGeneration wants no generation where there is no nf_tables, and an error where the
// kernel does not say.
func TestGeneration(t *testing.T) {
	t.Parallel()
	k := newKernel()
	d := &Driver{func() (*Conn, error) { return &Conn{k.connect()}, nil }}
	if n, err := d.Generation(); n != 7 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	d = &Driver{func() (*Conn, error) { return nil, ErrUnsupported }}
	if n, err := d.Generation(); n != 0 || err != nil {
		t.Errorf("without nf_tables: got %d, %v", n, err)
	}
	d = &Driver{func() (*Conn, error) { return nil, unix.EPERM }}
	if _, err := d.Generation(); !errors.Is(err, unix.EPERM) {
		t.Errorf("without permission: error %v", err)
	}
}
