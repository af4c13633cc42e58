// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBlockers finds the chains that drop what nobody accepts, of all families
// whose packets are forwarded.
func TestBlockers(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.other(func(h *host) {
		h.newTable(unix.NFPROTO_IPV4, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfDrop))
		h.newTable(unix.NFPROTO_IPV6, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfAccept))
		h.newTable(unix.NFPROTO_BRIDGE, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfDrop))
		mine := h.newTable(unix.NFPROTO_INET, "mine")
		mine.newChain("in", baseChain(1, 0, nfDrop))
		mine.newChain("through", baseChain(nfForward, 10, nfDrop))
		mine.newChain("helper", nil)
	})
	apply(t, k, sample()) // with the plugin's own table in between
	var got []string
	for _, b := range start(t, k).table.blockers {
		got = append(got, strings.Join([]string{b.family, b.table, b.chain, b.variant}, " "))
	}
	if want := "ip filter FORWARD ,inet mine through "; strings.Join(got, ",") != want {
		t.Errorf("got %q", got)
	}
}

func TestBlockerProgram(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		blocker blocker
		want    string
	}{
		{blocker{"ip", "filter", "FORWARD", ""}, "iptables"},
		{blocker{"ip", "filter", "FORWARD", "-legacy"}, "iptables-legacy"},
		{blocker{"ip6", "filter", "FORWARD", ""}, "ip6tables"},
		{blocker{"ip6", "filter", "FORWARD", "-legacy"}, "ip6tables-legacy"},
		{blocker{"inet", "filter", "FORWARD", ""}, ""},
		{blocker{"ip", "mine", "FORWARD", ""}, ""},
		{blocker{"ip6", "filter", "through", ""}, ""},
	} {
		if got := test.blocker.program(); got != test.want {
			t.Errorf("%v: got %q, want %q", test.blocker, got, test.want)
		}
	}
}
