// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// split splits a name at its commas, and returns the number of fields. It
// allocates nothing, because a call splits as many names as there are containers.
func split(name string) (f [fieldCount]string, n int) {
	for more := true; more; n++ {
		var field string
		field, name, more = strings.Cut(name, ",")
		if n < len(f) {
			f[n] = field
		}
	}
	return f, n
}

func addressField(addresses []netip.Prefix) string {
	words := make([]string, len(addresses))
	for i, p := range addresses {
		words[i] = hex.EncodeToString(p.Addr().AsSlice())
	}
	return strings.Join(words, "+")
}

func parseAddresses(field string) ([]netip.Prefix, error) {
	list := make([]netip.Prefix, 0, 1+strings.Count(field, "+"))
	for word := range strings.SplitSeq(field, "+") {
		addr, ok := parseAddress(word)
		if !ok {
			return nil, errForeign
		}
		list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return list, nil
}

func parseAddress(word string) (addr netip.Addr, ok bool) {
	var b [net.IPv6len]byte
	if len(word) > 2*len(b) {
		return addr, false
	}
	n, err := hex.Decode(b[:], []byte(word))
	if err != nil {
		return addr, false
	}
	addr, ok = netip.AddrFromSlice(b[:n])
	return addr, ok && !addr.Is4In6()
}

// listField joins names. Escaped ones have no plus sign.
func listField(names []string) string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = url.QueryEscape(name)
	}
	return strings.Join(words, "+")
}

// portField returns the port and the key of the container.
func portField(a policy.Attachment) string {
	if a.Port == "" {
		return ""
	}
	return url.QueryEscape(a.Port) + "+" + a.ContainerKey
}

// parsePort parses what portField made.
func parsePort(field string) (port, containerKey string, known bool) {
	escaped, containerKey, _ := strings.Cut(field, "+")
	port, known = parseName(escaped)
	return port, containerKey, known && (field == "" || isHex(containerKey, 12))
}

// parseName returns the interface name of a field, which may be empty.
func parseName(field string) (name string, known bool) {
	if field == "" {
		return "", true
	}
	name, err := url.QueryUnescape(field)
	return name, err == nil && policy.CheckInterface(name) == nil
}

func isHex(s string, length int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == length
}
