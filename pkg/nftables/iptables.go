// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cni-isolation/firewall/pkg/policy"
)

// familyOf has, by address family, that of the tables of iptables-nft.
var familyOf = map[policy.Family]byte{policy.IPv4: unix.NFPROTO_IPV4, policy.IPv6: unix.NFPROTO_IPV6}

// HasChain reports whether a table of iptables-nft has one of some chains.
func (d *Driver) HasChain(f policy.Family, table string, chains []string) (bool, error) {
	c, err := d.open()
	if errors.Is(err, ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	found, err := c.conn.hasChain(familyOf[f], table, chains)
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
