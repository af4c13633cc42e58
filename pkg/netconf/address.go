// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"net/netip"
)

// parseAddress parses an address with the prefix length of its network. It returns
// the prefix that holds only the address.
func parseAddress(text, version string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is not an address with a prefix length, such as 10.4.0.2/24")
	}
	network = unmap(network)
	addr := network.Addr()
	return netip.PrefixFrom(addr, addr.BitLen()), checkAddress(network, version)
}

func checkAddress(network netip.Prefix, version string) error {
	addr := network.Addr()
	switch {
	case version == "4" && addr.Is6() || version == "6" && addr.Is4():
		return fmt.Errorf("does not match its version, %q", version)
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback():
		return errors.New("cannot be a container's: it is unspecified, multicast or loopback")
	case !isHost(network):
		return errors.New("is not a host's: its host bits are all zero or all one")
	}
	return nil
}

// unmap turns ::ffff:10.4.0.2/120 into 10.4.0.2/24. A prefix shorter than the
// mapping's 96 bits has no meaning in IPv4 and becomes /0.
func unmap(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p
	}
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
}

// isHost reports whether a host can have the address. In point-to-point networks
// it can have any (RFC 3021, RFC 6164).
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

// broadcast returns the address whose host bits are all one, of an IPv4 network.
func broadcast(network netip.Prefix) netip.Addr {
	bytes := network.Masked().Addr().As4()
	for bit := network.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(bytes)
}
