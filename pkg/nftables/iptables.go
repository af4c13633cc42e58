// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// familyOf has, by address family, that of the tables of iptables-nft.
var familyOf = map[policy.Family]byte{policy.IPv4: unix.NFPROTO_IPV4, policy.IPv6: unix.NFPROTO_IPV6}

// HasChain reports whether the filter table of a variant of iptables, "nft" or "legacy",
// has one of some chains. It starts no program, and makes no table.
func (d *Driver) HasChain(f policy.Family, variant string, chains []string) (bool, error) {
	if variant == "legacy" {
		return legacyHasChain(familyOf[f], chains)
	}
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	found, err := c.conn.hasChain(familyOf[f], "filter", chains)
	return found, queryError(err)
}

func (c *conn) hasChain(family byte, table string, chains []string) (found bool, err error) {
	var requests []request
	for _, name := range chains {
		attrs := slices.Concat(attrString(unix.NFTA_CHAIN_TABLE, table), attrString(unix.NFTA_CHAIN_NAME, name))
		requests = append(requests, request{kind: unix.NFT_MSG_GETCHAIN, family: family, attrs: attrs})
	}
	err = c.query(func(reply) error {
		found = true
		return nil
	}, requests...)
	return found, err
}

// legacyHasChain looks for names of chains, each of which the kernel keeps in an entry.
func legacyHasChain(family byte, chains []string) (bool, error) {
	at := slices.IndexFunc(legacyTables, func(l legacyTable) bool { return l.family == family })
	r, err := legacyTables[at].read()
	if errors.Is(err, fs.ErrPermission) {
		return false, nil // it cannot be the caller's, either
	}
	if err != nil || r == nil {
		return false, err
	}
	isIn := func(chain string) bool { return bytes.Contains(r.entries, append([]byte(chain), 0)) }
	return slices.ContainsFunc(chains, isIn), nil
}
