// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// Result is the prevResult: what the plugins before this one made. Its fields
// read alike in all of CNI 0.4.0 to 1.1.0, so it is decoded here; the
// conversions of the CNI library panic on a null in its lists.
type Result struct {
	Raw        json.RawMessage // as it came, to be passed on
	Interfaces []Interface
	Addresses  []netip.Prefix // /32 and /128, IPv4 ones not mapped into IPv6
}

// Interface is one entry of the prevResult's interfaces with a valid name.
type Interface struct {
	Name    string
	Sandbox string // path of the network namespace it is in; empty on the host
}

type writtenResult struct {
	Interfaces []*struct {
		Name    string `json:"name"`
		Sandbox string `json:"sandbox"`
	} `json:"interfaces"`
	IPs []*struct {
		Version string `json:"version"` // CNI 0.4.0: "4" or "6"
		Address string `json:"address"`
	} `json:"ips"`
}

// parseResult returns nil where there is no prevResult, and leaves out of it
// what is not valid.
func parseResult(bad *problems, raw json.RawMessage) *Result {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var w writtenResult
	if err := json.Unmarshal(raw, &w); err != nil {
		bad.add("reading prevResult: %w", err)
		return nil
	}
	r := &Result{Raw: raw}
	for n, i := range w.Interfaces {
		if i == nil {
			bad.add("prevResult interfaces[%d] is null", n)
		} else if err := policy.CheckInterface(i.Name); err != nil {
			bad.add("prevResult interfaces[%d] name %q %w", n, i.Name, err)
		} else {
			r.Interfaces = append(r.Interfaces, Interface{i.Name, i.Sandbox})
		}
	}
	for n, ip := range w.IPs {
		if ip == nil {
			bad.add("prevResult ips[%d] is null", n)
		} else if p, err := parseAddress(ip.Address, ip.Version); err != nil {
			bad.add("prevResult ips[%d] address %q %w", n, ip.Address, err)
		} else {
			r.Addresses = append(r.Addresses, p)
		}
	}
	return r
}

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
