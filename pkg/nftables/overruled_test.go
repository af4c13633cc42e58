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

func TestBlockerExplains(t *testing.T) {
	t.Parallel()
	const drops = " drops what it does not accept itself, and so the containers' traffic too: "
	for _, test := range []struct {
		blocker blocker
		want    string
	}{
		{blocker{"ip", "filter", "FORWARD", ""}, "chain FORWARD of table ip filter" + drops +
			`set "backend": "iptables" in the conflist, or run "iptables -P FORWARD ACCEPT"`},
		{blocker{"ip", "filter", "FORWARD", "-legacy"}, "chain FORWARD of table ip filter" + drops +
			`set "backend": "iptables" in the conflist, or run "iptables-legacy -P FORWARD ACCEPT"`},
		{blocker{"ip6", "filter", "FORWARD", ""}, "chain FORWARD of table ip6 filter" + drops +
			`set "backend": "iptables" in the conflist, or run "ip6tables -P FORWARD ACCEPT"`},
		{blocker{"inet", "filter", "FORWARD", ""}, "chain FORWARD of table inet filter" + drops +
			`accept it there, or run "nft chain inet filter FORWARD '{ policy accept; }'"`},
		{blocker{"ip", "mine", "FORWARD", ""}, "chain FORWARD of table ip mine" + drops +
			`accept it there, or run "nft chain ip mine FORWARD '{ policy accept; }'"`},
		{blocker{"ip6", "filter", "through", ""}, "chain through of table ip6 filter" + drops +
			`accept it there, or run "nft chain ip6 filter through '{ policy accept; }'"`},
	} {
		if got := test.blocker.explain().Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
