// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"

	"github.com/cni-isolation/firewall/pkg/internal/wire"
)

// inHostOrder are the values that the kernel reads as numbers of the host: which fields of
// a direction the filter compares (CTA_FILTER).
var inHostOrder = wire.Values{"25/1": wire.Uint32, "25/2": wire.Uint32}

// TestWire compares the bytes of requests with those that Linux takes. make archs does so
// on a machine with the other byte order.
func TestWire(t *testing.T) {
	t.Parallel()
	redirected, err := parse(append(message(), nl.NewRtAttr(nl.CTA_ID, []byte{1, 2, 3, 4}).Serialize()...))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		request *nl.NetlinkRequest
		want    string
	}{
		"all": {conn{}.listing(filter{}), `
			message 0x101 flags 0x301 port 0, nfnetlink 00000000`},
		"what an address opened": {conn{}.listing(filter{netip.MustParseAddr("10.4.0.2"), nl.CTA_TUPLE_ORIG}), `
			message 0x101 flags 0x301 port 0, nfnetlink 02000000
			  25
			    1 host 0x1
			  1
			    1
			      1 0a040002`},
		"what led to an address": {conn{}.listing(filter{netip.MustParseAddr("fd00::2"), nl.CTA_TUPLE_REPLY}), `
			message 0x101 flags 0x301 port 0, nfnetlink 0a000000
			  25
			    2 host 0x1
			  2
			    1
			      3 fd000000000000000000000000000002`},
		"deletion": {conn{}.deletion(redirected), `
			message 0x102 flags 0x5 port 0, nfnetlink 02000000
			  1
			    1
			      1 c0000201
			      2 c00002fe
			  12 01020304`},
	} {
		want := strings.ReplaceAll(strings.TrimPrefix(test.want, "\n"), "\t", "") + "\n"
		if diff := cmp.Diff(want, inHostOrder.Text(t, test.request.Serialize())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
