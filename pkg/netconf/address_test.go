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
		{"10.4.0.2/24", "6", "", `version, "6"`},
		{"fd00::2/64", "4", "", `version, "4"`},
		{"10.4.0.2", "", "", "not an address with a prefix length"},
		{"10.4.0.2/33", "", "", "not an address with a prefix length"},
		{"fe80::1%eth0/64", "", "", "not an address with a prefix length"},
		{"", "", "", "not an address with a prefix length"},
		{"10.4.0.2/24\n-A FORWARD -j ACCEPT", "", "", "not an address with a prefix length"},
		{"0.0.0.0/0", "", "", "cannot be a container's"},
		{"::/0", "", "", "cannot be a container's"},
		{"127.0.0.1/8", "", "", "cannot be a container's"},
		{"::1/128", "", "", "cannot be a container's"},
		{"224.0.0.1/4", "", "", "cannot be a container's"},
		{"ff02::1/16", "", "", "cannot be a container's"},
		{"10.4.0.0/24", "", "", "not a host's"},
		{"10.4.0.255/24", "", "", "not a host's"},
		{"255.255.255.255/8", "", "", "not a host's"},
		{"fd00::/64", "", "", "not a host's"},
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
