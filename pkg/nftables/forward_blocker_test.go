// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForwardBlockers finds the base chains that drop by policy, in all families
// whose chains forwarded packets pass.
func TestForwardBlockers(t *testing.T) {
	t.Parallel()
	k := newKernel()
	k.otherProgram(func(h *host) {
		h.newTable(unix.NFPROTO_IPV4, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfDrop))
		h.newTable(unix.NFPROTO_IPV6, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfAccept))
		h.newTable(unix.NFPROTO_BRIDGE, "filter").newChain("FORWARD", baseChain(nfForward, 0, nfDrop))
		mine := h.newTable(unix.NFPROTO_INET, "mine")
		mine.newChain("in", baseChain(1, 0, nfDrop))
		mine.newChain("through", baseChain(nfForward, 10, nfDrop))
		mine.newChain("helper", nil)
	})
	apply(t, k, sample()) // the plugin's own table stands beside them
	var got []string
	for _, b := range readSnapshot(t, k).byPolicy() {
		got = append(got, strings.Join([]string{b.Family, b.Table, b.Chain, b.Program}, " "))
	}
	if want := "ip filter FORWARD iptables,inet mine through "; strings.Join(got, ",") != want {
		t.Errorf("got %q", got)
	}
}

func TestForwardBlockerProgram(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		family, table, chain, variant string
		want                          string
	}{
		{"ip", "filter", "FORWARD", "", "iptables"},
		{"ip", "filter", "FORWARD", "-legacy", "iptables-legacy"},
		{"ip6", "filter", "FORWARD", "", "ip6tables"},
		{"ip6", "filter", "FORWARD", "-legacy", "ip6tables-legacy"},
		{"inet", "filter", "FORWARD", "", ""},
		{"ip", "mine", "FORWARD", "", ""},
		{"ip6", "filter", "through", "", ""},
	} {
		if got := newForwardBlocker(test.family, test.table, test.chain, test.variant).Program; got != test.want {
			t.Errorf("%s %s %s: got %q, want %q", test.family, test.table, test.chain, got, test.want)
		}
	}
}
