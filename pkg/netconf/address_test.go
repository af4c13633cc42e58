// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		address, version string
		want, wantErr    string
	}{
		{"10.4.0.2/24", "", "10.4.0.2/32", ""},
		{"10.4.0.2/24", "4", "10.4.0.2/32", ""},
		{"10.4.0.2/32", "", "10.4.0.2/32", ""},
		{"10.4.0.2/31", "", "10.4.0.2/32", ""},
		{"10.4.0.3/31", "", "10.4.0.3/32", ""},
		{"fd00::2/64", "6", "fd00::2/128", ""},
		{"FD00:0:0::2/64", "", "fd00::2/128", ""},
		{"fd00::2/127", "", "fd00::2/128", ""},
		{"fd00::ffff:ffff:ffff:ffff/64", "", "fd00::ffff:ffff:ffff:ffff/128", ""},
		{"::ffff:10.4.0.2/120", "", "10.4.0.2/32", ""},
		{"10.4.0.2/24", "6", "", "family"},
		{"fd00::2/64", "4", "", "family"},
		{"10.4.0.2", "", "", "no address with a prefix length"},
		{"10.4.0.2/33", "", "", "no address with a prefix length"},
		{"fe80::1%eth0/64", "", "", "no address with a prefix length"},
		{"", "", "", "no address with a prefix length"},
		{"10.4.0.2/24\n-A FORWARD -j ACCEPT", "", "", "no address with a prefix length"},
		{"0.0.0.0/0", "", "", "can have"},
		{"::/0", "", "", "can have"},
		{"127.0.0.1/8", "", "", "can have"},
		{"::1/128", "", "", "can have"},
		{"224.0.0.1/4", "", "", "can have"},
		{"ff02::1/16", "", "", "can have"},
		{"10.4.0.0/24", "", "", "host bits"},
		{"10.4.0.255/24", "", "", "host bits"},
		{"255.255.255.255/8", "", "", "host bits"},
		{"fd00::/64", "", "", "host bits"},
	}
	for _, test := range tests {
		got, err := parseAddress(test.address, test.version)
		switch {
		case test.wantErr == "" && err != nil:
			t.Errorf("%q: %v", test.address, err)
		case test.wantErr == "" && got.String() != test.want:
			t.Errorf("%q: got %s, want %s", test.address, got, test.want)
		case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
			t.Errorf("%q: got error %v, want %q in it", test.address, err, test.wantErr)
		}
	}
}
