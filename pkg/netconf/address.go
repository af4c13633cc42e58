// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"net/netip"
)

// parseAddress turns an address with the length of its network's prefix into
// the prefix that holds just the address.
func parseAddress(text, version string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is no address with a prefix length, such as 10.4.0.2/24")
	}
	network = unmap(network)
	addr := network.Addr()
	host := netip.PrefixFrom(addr, addr.BitLen())
	switch {
	case version == "4" && addr.Is6() || version == "6" && addr.Is4():
		return host, errors.New("is not of the family that its version, " + version + ", says")
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback():
		return host, errors.New("is no address that a container can have")
	case !isHost(network):
		return host, errors.New("names a network, not a host in it: its host bits are all zero or all one")
	}
	return host, nil
}

// unmap turns ::ffff:10.4.0.2/120 into 10.4.0.2/24. A prefix that reaches into
// the mapping itself has no meaning in IPv4 and becomes the whole of it.
func unmap(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p
	}
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
}

// isHost reports whether a network's address has host bits that a host can
// have. Point-to-point networks use them all (RFC 3021, RFC 6164).
func isHost(network netip.Prefix) bool {
	addr := network.Addr()
	if addr.BitLen()-network.Bits() <= 1 {
		return true
	}
	if addr == network.Masked().Addr() {
		return false
	}
	return addr.Is6() || addr != broadcast(network)
}

// broadcast returns the address of an IPv4 network whose host bits are all one.
func broadcast(network netip.Prefix) netip.Addr {
	bytes := network.Masked().Addr().As4()
	for bit := network.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(bytes)
}
