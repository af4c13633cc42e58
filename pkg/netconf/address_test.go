// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	tests := []struct{ address, want string }{
		{"10.4.0.2/24", "10.4.0.2/32"},
		{"10.4.0.2/32", "10.4.0.2/32"},
		{"10.4.0.2/31", "10.4.0.2/32"},
		{"10.4.0.3/31", "10.4.0.3/32"},
		{"10.4.0.0/24", "10.4.0.0/32"},
		{"10.4.0.255/24", "10.4.0.255/32"},
		{"10.4.0.3/30", "10.4.0.3/32"},
		{"fd00::2/64", "fd00::2/128"},
		{"FD00:0:0::2/64", "fd00::2/128"},
		{"fd00::2/127", "fd00::2/128"},
		{"fd00::/64", "fd00::/128"},
		{"fd00::ffff:ffff:ffff:ffff/64", "fd00::ffff:ffff:ffff:ffff/128"},
		{"::ffff:10.4.0.2/120", "10.4.0.2/32"},
		{"::ffff:10.4.0.2/24", "10.4.0.2/32"},
		{"10.4.0.2", ""},
		{"10.4.0.2/33", ""},
		{"fe80::1%eth0/64", ""},
		{"", ""},
		{"10.4.0.2/24\n-A FORWARD -j ACCEPT", ""},
	}
	for _, test := range tests {
		got, err := parseAddress(test.address)
		switch {
		case test.want == "" && (err == nil || !strings.Contains(err.Error(), "not an address with a prefix length")):
			t.Errorf("%q: got error %v", test.address, err)
		case test.want != "" && (err != nil || got.String() != test.want):
			t.Errorf("%q: got %s and error %v, want %s", test.address, got, err, test.want)
		}
	}
}

// TestIsForwarded leaves out what no container sends from beyond its host.
func TestIsForwarded(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"10.4.0.0": true, "10.4.0.255": true, "169.254.1.1": true, "fe80::1": true, "fd00::": true,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "127.9.9.9": false, "::1": false,
		"224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
	} {
		if got := isForwarded(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %t", address, got)
		}
	}
}
