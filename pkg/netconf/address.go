// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"net"
	"net/netip"
)

// parseAddress parses an address with the prefix length of its network. It returns
// the prefix that holds only the address: no rule has more. So a network address, or
// one with a host's bits all one, is an address like any other (/31, anycast).
func parseAddress(text string) (netip.Prefix, error) {
	ip, _, err := net.ParseCIDR(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is not an address with a prefix length, such as 10.4.0.2/24")
	}
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// isForwarded reports whether the host forwards packets from and to an address. A rule
// for any other would accept nothing but forged packets: portmap has bridges take
// packets from 127.0.0.0/8 (route_localnet).
func isForwarded(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsMulticast() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
