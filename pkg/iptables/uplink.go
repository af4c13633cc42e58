// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"os"
	"slices"
	"strings"
)

// routeFiles list the routes of the main tables, and in which words of a line are the
// destination, its prefix length or mask, and the interface.
var routeFiles = []struct {
	path                             string
	destination, length, interfaceAt int
}{
	{"/proc/net/route", 1, 7, 0},
	{"/proc/net/ipv6_route", 0, 1, 9},
}

// readUplinks returns the interfaces by which the host reaches the world: those of its
// default routes. A file that cannot be read names none.
func readUplinks() map[string]bool {
	uplinks := map[string]bool{"lo": true} // which has the unreachable default of IPv6
	for _, f := range routeFiles {
		text, _ := os.ReadFile(f.path)
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) > max(f.length, f.interfaceAt) && isZero(words[f.destination]) && isZero(words[f.length]) {
				uplinks[words[f.interfaceAt]] = true
			}
		}
	}
	return uplinks
}

func isZero(hex string) bool {
	return !slices.ContainsFunc([]byte(hex), func(c byte) bool { return c != '0' })
}
